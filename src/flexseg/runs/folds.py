"""Who trains, validates and is scored in each fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from flexseg.config.findings import Finding, amount, examples
from flexseg.config.schema import DataSections
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.dividing import CaseTable, divide_cases, fold_cases
from flexseg.dataset.division.grouping import grouped_by_names
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import look_at, read_cases
from flexseg.errors import ConfigError, DataError
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
class Folds:
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


def divide(data: DataSections, labels: LabelMap, count: int) -> Folds:
    """Divide the cases for training and validation of a config, which are read once for it.

    Where the config names no group, what the names of the files tell counts, as in a plan.

    Raises
    ------
    ConfigError, DataError : no cases, cases of one name, or too few groups for so many folds.
    """
    cases, findings = _find_cases(data)
    table = _table(cases, labels)
    return Folds(cases, make_folds(table, count, data.train.seed), findings)


def recorded_division(data: DataSections, folder: Path) -> Folds:
    """The folds that the cross-validation in `folder` has noted in its `folds.json`.

    Raises
    ------
    DataError : there is no such file, it is damaged, or the cases are others by now.
    """
    path = folder / FILE_NAME
    content = read_folds(folder)
    if content is None:
        raise no_folds(folder)
    cases, findings = _find_cases(data)
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
            f"Its folds hold out {amount(len(set(held)), 'case')}, but now there are {len(known)}.",
            "Restore the data, or run the cross-validation again.",
            str(path),
        )
    return Folds(cases, found, findings)


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
        "There is no cross-validation to continue.",
        "Start without --resume.",
        str(folder / FILE_NAME),
    )


_FOLDS = TypeAdapter(list[FoldIds])
_FIX = (
    "Restore the file from a copy, as only it says which network has seen which case; or run the "
    "cross-validation again."
)


def make_folds(table: CaseTable, count: int, seed: int) -> tuple[Fold, ...]:
    """Divide cases into folds by group.

    Parameters
    ----------
    seed : another seed, other folds.

    Raises
    ------
    ConfigError : fewer than two folds.
    DataError : too few groups for so many folds.
    """
    if count < 2:
        raise ConfigError(
            f"{amount(count, 'fold')} cannot be trained and validated.",
            "Give 2 or more.",
            "--folds",
        )
    number = len({case.group for case in table.cases})
    if number < max(count, 3):
        raise DataError(
            f"{amount(len(table.cases), 'case')} of {amount(number, 'group')} cannot make "
            f"{count} folds.",
            "Use fewer folds, or another [dataset] group: a group is never divided.",
            "--folds",
        )
    found = []
    for k, parts in enumerate(fold_cases(table, count, seed=seed)):
        if len({case.group for case in parts["train"]}) < 2:
            raise DataError(
                f"Without fold {k} one group is left, which cannot train and validate.",
                "Use more folds, or another [dataset] group: a group is never divided.",
                "--folds",
            )
        inner = divide_cases(
            table.only(parts["train"]),
            {"train": 1 - VALIDATION_SHARE, "valid": VALIDATION_SHARE},
            seed,
        )
        found.append(Fold(inner["train"], inner["valid"], parts["valid"]))
    return tuple(found)


def _find_cases(data: DataSections) -> tuple[tuple[Case, ...], tuple[Finding, ...]]:
    """All cases but those of the test, and what was found about them."""
    splits = find_splits(data, only=("train", "valid"))
    splits.raise_errors()
    cases = (*splits.need("train"), *splits.cases.get("valid", ()))
    ids = [case.id for case in cases]
    if double := sorted({i for i in ids if ids.count(i) > 1}):
        raise DataError(
            f"{amount(len(double), 'case')} for training and validation "
            f"{'has' if len(double) == 1 else 'have'} the name of another one: "
            f"{examples(double)}.",
            "Rename the files: the scores of all cases are in one table.",
            "[valid] images_dir",
        )
    # Which part of the training cases would validate in a single training does not matter here.
    findings = tuple(f for f in splits.findings if f.code != "validation-held-out")
    cases, found = grouped_by_names(cases, data.dataset.group)
    return cases, (*findings, *found)


def _table(cases: Sequence[Case], labels: LabelMap) -> CaseTable:
    """The cases, each read once.

    Raises
    ------
    FlexsegError : one cannot be used.
    """
    looks = read_cases(cases, look=lambda case: look_at(case, labels))
    for look in looks:
        for problem in look.problems:
            raise problem
    return CaseTable.of_looks(looks, labels)
