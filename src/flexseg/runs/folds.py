"""Who trains, validates and is scored in each fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from flexseg.config.findings import Finding, examples
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.splits import find_splits
from flexseg.dataset.stratification import folds, partition
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_mask
from flexseg.outputs import write_json
from flexseg.runs.records import read_record

FILE_NAME = "folds.json"
# What tables and reports call the cases of all folds together.
ALL_FOLDS = "all folds"
# Of the cases that a fold may see, to choose the best epoch by. The fold's own cases must not
# choose it: the score would be that of the epoch that happens to suit them.
VALIDATION_SHARE = 0.15


@dataclass(frozen=True)
class FoldIds:
    """Ids of the cases of a fold, see `Fold`."""

    train: list[str]
    valid: list[str]
    held_out: list[str]


@dataclass(frozen=True)
class Fold:
    """Who is what in one fold.

    Attributes
    ----------
    held_out : the cases that the fold's network is scored on.
    """

    train: tuple[Case, ...]
    valid: tuple[Case, ...]
    held_out: tuple[Case, ...]

    def ids(self) -> FoldIds:
        """Ids of the cases."""
        return FoldIds(*([c.id for c in part] for part in (self.train, self.valid, self.held_out)))


@dataclass(frozen=True)
class Division:
    """The folds of a cross-validation.

    Attributes
    ----------
    cases : of all folds; each is held out in one of them.
    findings : what was found while looking for the cases.
    """

    cases: tuple[Case, ...]
    folds: tuple[Fold, ...]
    findings: tuple[Finding, ...] = ()

    def ids(self) -> list[FoldIds]:
        """The content of `folds.json`."""
        return [fold.ids() for fold in self.folds]


def divide(experiment: Experiment, count: int) -> Division:
    """Divide the cases for training and validation of a config, which are read once for it.

    Raises
    ------
    ConfigError, DataError : no cases, cases of one name, or too few groups for so many folds.
    """
    cases, findings = _find_cases(experiment)
    presence = _presence(cases, LabelMap.from_experiment(experiment))
    return Division(
        cases, tuple(make_folds(cases, presence, count, experiment.train.seed)), findings
    )


def recorded_division(experiment: Experiment, folder: Path) -> Division:
    """The folds that the cross-validation in `folder` has noted in its `folds.json`.

    Raises
    ------
    DataError : there is no such file, it is damaged, or the cases are others by now.
    """
    path = folder / FILE_NAME
    content = read_folds(folder)
    if content is None:
        raise no_folds(folder)
    cases, findings = _find_cases(experiment)
    known = {case.id: case for case in cases}
    try:
        found = tuple(
            Fold(*(tuple(known[i] for i in ids) for ids in (f.train, f.valid, f.held_out)))
            for f in content
        )
    except KeyError as error:
        raise DataError(
            f"It names {error}, and there is no such case any more.", "Restore it.", str(path)
        ) from None
    held = [case.id for fold in found for case in fold.held_out]
    if sorted(held) != sorted(known):
        raise DataError(
            f"Its folds hold out {len(set(held))} cases, now there are {len(known)}.",
            "Restore the data, or run the cross-validation again.",
            str(path),
        )
    return Division(cases, found, findings)


def read_folds(folder: Path) -> list[FoldIds] | None:
    """The folds that the cross-validation in `folder` has noted; None without `folds.json`.

    Raises
    ------
    DataError : the file is damaged.
    """
    try:
        return read_record(folder / FILE_NAME, _FOLDS, "The list of the folds", _FIX)
    except FileNotFoundError:
        return None


def write_folds(folder: Path, folds: Sequence[FoldIds]) -> None:
    """Write `folds.json`."""
    write_json(folder / FILE_NAME, [asdict(fold) for fold in folds])


def no_folds(folder: Path) -> DataError:
    """What to raise where there must be a cross-validation."""
    return DataError(
        "There is no cross-validation to go on with.",
        "Start without --resume.",
        str(folder / FILE_NAME),
    )


_FOLDS = TypeAdapter(list[FoldIds])
_FIX = (
    "Restore the file from a copy: without it nobody knows which network has seen which case; or "
    "run the cross-validation again."
)


def make_folds(
    cases: Sequence[Case], presence: NDArray[np.bool_], count: int, seed: int
) -> list[Fold]:
    """Divide cases into folds by group.

    Parameters
    ----------
    presence : [cases, classes], whether a case shows a class.
    seed : another seed, other folds.

    Raises
    ------
    ConfigError : fewer than two folds.
    DataError : too few groups for so many folds.
    """
    if count < 2:
        raise ConfigError(f"{count} folds are none.", "Give 2 or more.", "--folds")
    groups = np.array([case.group for case in cases])
    number = len(set(groups))
    if number < max(count, 3):
        raise DataError(
            f"{len(cases)} cases of {number} group(s) cannot make {count} folds.",
            "Take fewer folds, or another [dataset] group: one group is never divided.",
            "--folds",
        )
    fold_of = folds(list(groups), presence, count, seed)
    result = []
    for k in range(count):
        rest = np.flatnonzero(fold_of != k)
        if len(set(groups[rest])) < 2:
            raise DataError(
                f"Without fold {k} one group is left, which cannot train and validate.",
                "Take more folds, or another [dataset] group: one group is never divided.",
                "--folds",
            )
        shares = [1 - VALIDATION_SHARE, VALIDATION_SHARE]
        part = partition(list(groups[rest]), presence[rest], shares, seed)
        result.append(
            Fold(
                tuple(cases[i] for i in rest[part == 0]),
                tuple(cases[i] for i in rest[part == 1]),
                tuple(cases[i] for i in np.flatnonzero(fold_of == k).tolist()),
            )
        )
    return result


def _find_cases(experiment: Experiment) -> tuple[tuple[Case, ...], tuple[Finding, ...]]:
    """All cases but those of the test, and what was found about them."""
    splits = find_splits(experiment, only=("train", "valid"))
    splits.raise_errors()
    cases = (*splits.need("train"), *splits.cases.get("valid", ()))
    ids = [case.id for case in cases]
    if double := sorted({i for i in ids if ids.count(i) > 1}):
        raise DataError(
            f"{len(double)} cases for training and validation have the same name: "
            f"{examples(double)}.",
            "Rename the files: the scores of all cases stand in one table.",
            "[valid] images_dir",
        )
    # Which part of the training cases would validate in a single training does not matter here.
    findings = tuple(f for f in splits.findings if f.code != "validation-held-out")
    return cases, findings


def _presence(cases: Sequence[Case], labels: LabelMap) -> NDArray[np.bool_]:
    """Whether a case shows a class, [cases, foreground classes]."""

    def shown(case: Case) -> list[bool]:
        found = np.unique(labels.encode(read_mask(case.mask), str(case.mask)).labels)
        return [c.id in found for c in labels.foreground]

    with ThreadPoolExecutor() as pool:
        return np.array(list(pool.map(shown, cases)), bool)
