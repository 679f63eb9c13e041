"""The cases of training, validation and test."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

from flexseg.config.findings import Finding, Severity
from flexseg.dataset.cases import Case, require_case_files
from flexseg.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")


@dataclass
class Splits:
    """The cases of each split, and what was found while looking for them.

    Attributes
    ----------
    volumes : the volumes of `[volume] images_dir` that the split file names and that have no
        slices: `evaluate` takes them whole.
    """

    cases: dict[SplitName, tuple[Case, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    volumes: dict[SplitName, tuple[str, ...]] = field(default_factory=dict)

    def add(self, other: Splits) -> None:
        """Take over the cases of splits that another one has, and what it found."""
        self.cases.update(other.cases)
        self.volumes.update(other.volumes)
        self.findings += other.findings

    def log(self) -> None:
        """Log the findings that are no errors."""
        for finding in self.findings:
            level = logging.WARNING if finding.severity is Severity.WARNING else logging.INFO
            logger.log(level, "%s: %s", finding.where, finding.what)

    def raise_errors(self) -> None:
        """Raise DataError for the first finding that is an error, or for all files that are none.

        `flexseg check` tells of each of these as it reads the cases.
        """
        for finding in self.findings:
            if finding.severity is Severity.ERROR:
                raise DataError(finding.what, finding.fix, finding.where)
        require_case_files(case for cases in self.cases.values() for case in cases)

    def need(self, split: SplitName) -> tuple[Case, ...]:
        """The cases of a split. Raises ConfigError if the config does not say where they are."""
        if not self.cases.get(split):
            raise ConfigError(
                f"The config names no cases for the {split} split.",
                f"Set [{split}] images_dir and masks_dir, or [dataset] images_dir, masks_dir; "
                "[model] evaluation says which split is scored.",
                f"[{split}]",
            )
        return self.cases[split]
