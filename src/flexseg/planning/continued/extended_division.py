"""The division of a dataset whose cases have trained and tested an earlier network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from flexseg.config.findings import Finding, Severity, examples, some_of
from flexseg.dataset.cases import Case
from flexseg.dataset.division.dividing import Division
from flexseg.dataset.division.extending import counted, tested_finding
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.reading import ImageDataset, VolumeDataset
from flexseg.errors import DataError

# Image -> the part that it had.
Earlier = Mapping[Path, SplitName]
EarlierParts = Callable[[ImageDataset | VolumeDataset], Earlier]
_KEY = "--from"
# Code of the finding that counts earlier and new cases.
EXTENDED = "division-extended"


def divided(
    data: ImageDataset | VolumeDataset, split_file: Path | None, parts_of: EarlierParts | None
) -> tuple[Division, float]:
    """See `Dataset.divide`; and the share of the training cases that the earlier network saw.

    Parameters
    ----------
    parts_of : the parts that cases had; None without an earlier network.

    Raises
    ------
    DataError : also if a given division tests on what the earlier network has seen.
    """
    if parts_of is None:
        return data.divide(split_file), 0.0
    earlier = parts_of(data)
    division = data.divide(split_file, earlier)
    _refuse_seen_tests(division.parts.get("test", ()), earlier)
    counts = counted(division.parts, earlier)
    told = [Finding(Severity.NOTE, "data", EXTENDED, _KEY, f"Cases by split: {counts}.", "")]
    tested = [c for c in division.parts.get("train", ()) if earlier.get(c.image) == "test"]
    if tested:
        told.append(tested_finding([case.id for case in tested], _KEY))
    training = division.parts.get("train", ())
    seen = sum(case.image in earlier for case in training) / max(1, len(training))
    return replace(division, findings=(*division.findings, *told)), seen


def _refuse_seen_tests(tests: tuple[Case, ...], earlier: Earlier) -> None:
    seen = [case.id for case in tests if earlier.get(case.image) in ("train", "valid")]
    if seen:
        raise DataError(
            f"{some_of(len(seen), len(tests), 'test case', 'was', 'were')} seen in the training "
            f"of the earlier network: {examples(seen)}.",
            "Give test cases that took no part in it, or leave the split to the plan, which "
            "extends the earlier one.",
            _KEY,
        )
