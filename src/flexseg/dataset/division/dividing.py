"""Training, validation and test cases of a dataset that does not say which they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import Finding, amount
from flexseg.dataset.cases import Case
from flexseg.dataset.division.splits import SPLITS, SplitName
from flexseg.dataset.division.stratification import folds, members_of, partition, swap_groups
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import Look
from flexseg.dataset.names import base_name, is_augmented
from flexseg.errors import DataError

SHARES = (0.7, 0.15, 0.15)
SEED = 137
# With more groups than this, one order is as good as another.
_MANY, _TRIES = 200, 60

Parts = dict[SplitName, tuple[Case, ...]]


@dataclass(frozen=True)
class Division:
    """Which cases train, validate and test.

    Attributes
    ----------
    parts : the cases of each split; of what was given, splits may be missing.
    reason : why they are divided so, in words.
    split_file : a split file that says just that already, for `[dataset] split_file`.
    needs_file : it has to be written to a split file, as nothing says it yet.
    findings : what a user should know of it.
    """

    parts: Parts
    reason: str = ""
    split_file: Path | None = None
    needs_file: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases of all splits."""
        return tuple(case for own in self.parts.values() for case in own)

    @property
    def ids(self) -> dict[str, list[str]]:
        """The content of a split file."""
        return {split: [case.id for case in self.parts.get(split, ())] for split in SPLITS}


@dataclass(frozen=True)
class CaseTable:
    """Cases, and what decides how they are divided.

    Attributes
    ----------
    presence : [cases, classes], whether a case shows a class.
    digests : of the pixels of each image; empty for an image that shows nothing.
    classes : the names of the columns of `presence`.
    """

    cases: tuple[Case, ...]
    presence: NDArray[np.bool_]
    digests: tuple[bytes, ...]
    classes: tuple[str, ...]

    @classmethod
    def of_looks(cls, looks: Iterable[Look], labels: LabelMap) -> CaseTable:
        """The table of cases that were read, their class pixels counted."""
        looks = tuple(looks)
        shown = np.zeros((len(looks), len(labels.foreground)), bool)
        for row, look in zip(shown, looks, strict=True):
            row[:] = [pixels > 0 for pixels in look.class_pixels[1:]]
        return cls(
            tuple(look.case for look in looks),
            shown,
            tuple(look.digest for look in looks),
            tuple(c.name for c in labels.foreground),
        )

    def only(self, cases: Iterable[Case]) -> CaseTable:
        """The rows of some of the cases."""
        wanted = set(cases)
        rows = [i for i, case in enumerate(self.cases) if case in wanted]
        return replace(
            self,
            cases=tuple(self.cases[i] for i in rows),
            presence=self.presence[rows],
            digests=tuple(self.digests[i] for i in rows),
        )

    def with_groups(self, groups: Mapping[str, str]) -> CaseTable:
        """The table with other groups, by the id of the case."""
        return replace(self, cases=tuple(replace(c, group=groups[c.id]) for c in self.cases))

    def group_sizes(self) -> str:
        """One sentence on the groups for people."""
        sizes = Counter(case.group for case in self.cases)
        if len(sizes) == len(self.cases):
            return f"{amount(len(self.cases), 'case')}, each a group of its own"
        low, high = min(sizes.values()), max(sizes.values())
        size = str(low) if low == high else f"{low} to {high}"
        return f"{amount(len(self.cases), 'case')} in {amount(len(sizes), 'group')} of {size}"

    def summary(self, parts: Parts) -> list[PartSummary]:
        """Per part: cases, groups, and in how many cases each class is."""
        rows = []
        for split, cases in parts.items():
            shown = self.only(cases).presence
            rows.append(
                PartSummary(
                    split=split,
                    cases=len(cases),
                    groups=len({case.group for case in cases}),
                    classes=dict(zip(self.classes, shown.sum(axis=0).tolist(), strict=True)),
                    empty=int((~shown.any(axis=1)).sum()),
                )
            )
        return rows


class PartSummary(TypedDict):
    """One part of a division: in how many cases each class is, and how many show none."""

    split: SplitName
    cases: int
    groups: int
    classes: dict[str, int]
    empty: int


def divide_cases(table: CaseTable, shares: Mapping[SplitName, float], seed: int = SEED) -> Parts:
    """Divide by group, with every class in each part as far as there are enough cases.

    Training comes first: a class that is in few cases is there. Exact copies of an image stay
    together. Copies that an augmenter made, as their names tell, stay with their original, and
    are left out of validation and test where the original is there.

    Parameters
    ----------
    shares : of the splits that are to be made, training among them.
    seed : another seed, another division.

    Raises
    ------
    DataError : there are fewer groups than splits.
    """
    names = [split for split in SPLITS if shares.get(split, 0) > 0]
    groups = _independent_groups(table, len(names), ", ".join(names[:-1]) + f" and {names[-1]}")
    ratios = [shares[split] for split in names]
    tries = _TRIES if len(set(groups)) <= _MANY else 1
    best = min(
        (partition(groups, table.presence, ratios, seed + i) for i in range(tries)),
        key=lambda part_of: _lacking(part_of, table.presence, len(names)),
    )
    _give_training_every_class(best, groups, table.presence)
    best = swap_groups(best, groups, table.presence)
    parts = {
        split: tuple(table.cases[i] for i in np.flatnonzero(best == number).tolist())
        for number, split in enumerate(names)
    }
    return {s: own if s == "train" else _without_copies(own) for s, own in parts.items()}


def fold_cases(table: CaseTable, count: int, test: float = 0.0, seed: int = SEED) -> list[Parts]:
    """Divide by group into folds, each of which validates once.

    Parameters
    ----------
    count : of folds, at least 2.
    test : this share is held out first, the same in all folds.
    seed : another seed, other folds.

    Raises
    ------
    DataError : there are fewer groups than parts.
    """
    groups = np.array(_independent_groups(table, count + (test > 0), f"{count} folds"))
    held = np.zeros(len(groups), bool)
    if test:
        held = partition(groups.tolist(), table.presence, [1 - test, test], seed) == 1
    rest = np.flatnonzero(~held)
    fold_of = np.full(len(groups), -1, np.intp)
    fold_of[rest] = folds(groups[rest].tolist(), table.presence[rest], count, seed)

    def chosen(rows: NDArray[np.bool_]) -> tuple[Case, ...]:
        return tuple(table.cases[i] for i in np.flatnonzero(rows).tolist())

    found: list[Parts] = []
    for fold in range(count):
        parts: Parts = {
            "train": chosen(~held & (fold_of != fold)),
            "valid": chosen(fold_of == fold),
        }
        found.append(parts | {"test": chosen(held)} if test else parts)
    return found


def nested_cases(
    table: CaseTable, shares: Sequence[float], seed: int = SEED
) -> list[tuple[Case, ...]]:
    """Parts of the cases, each within the one before it, divided by group as `divide_cases` does.

    Parameters
    ----------
    shares : of all cases, falling, from 1 on; every part has a group at least.
    """
    found: list[tuple[Case, ...]] = []
    own = table
    for share in shares:
        rest = share * len(table.cases) / len(own.cases)
        if rest < 1:
            groups = groups_of_images(own)
            part_of = partition(groups, own.presence, [rest, 1 - rest], seed)
            _give_training_every_class(part_of, groups, own.presence)
            own = own.only(own.cases[i] for i in np.flatnonzero(part_of == 0).tolist())
        found.append(own.cases)
    return found


def _independent_groups(table: CaseTable, parts: int, what: str) -> list[str]:
    """The group of each case, where groups that share an image are one.

    Raises
    ------
    DataError : there are fewer groups than parts.
    """
    groups = groups_of_images(table)
    count, cases = len(set(groups)), len(groups)
    if count < parts:
        few = f"{cases} cases" + (f" of {amount(count, 'group')}" if count < cases else "")
        raise DataError(
            f"{few} cannot be divided into {what}: a group (patient, volume, image with its "
            "copies) stays together.",
            f"Add cases until {parts} or more are independent, or give another --group.",
        )
    return groups


def groups_of_images(table: CaseTable) -> list[str]:
    """The group of each case, where groups that share an image are one."""
    cases, digests = table.cases, table.digests
    first: dict[bytes, str] = {}
    parent: dict[str, str] = {case.group: case.group for case in cases}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for case, digest in zip(cases, digests, strict=True):
        if not digest:
            continue
        other = first.setdefault(digest, case.group)
        one, two = sorted((root(case.group), root(other)))
        parent[two] = one
    return [root(case.group) for case in cases]


def _lacking(
    part_of: NDArray[np.intp], presence: NDArray[np.bool_], parts: int
) -> tuple[int, int, int]:
    """Classes that training lacks, parts without any, and classes that the other parts lack."""
    shown = [presence[part_of == part].any(axis=0) for part in range(parts)]
    lacks = [int((~own).sum()) for own in shown]
    return lacks[0], sum(not own.any() for own in shown), sum(lacks[1:])


def _give_training_every_class(
    part_of: NDArray[np.intp], groups: Sequence[str], presence: NDArray[np.bool_]
) -> None:
    """Move groups with classes that training (part 0) lacks there; no part gets empty by it."""
    lacking = np.flatnonzero(presence.any(axis=0) & ~presence[part_of == 0].any(axis=0))
    if not lacking.size:
        return
    members = members_of(groups)
    for column in lacking:
        if presence[part_of == 0, column].any():  # came with another class
            continue
        having = [g for g, m in members.items() if presence[m, column].any()]
        for group in sorted(having, key=lambda g: len(members[g])):
            source = part_of[members[group][0]]
            part_of[members[group]] = 0
            if (part_of == source).any() or _refill(part_of, int(source), members, presence):
                break
            part_of[members[group]] = source


def _refill(
    part_of: NDArray[np.intp],
    part: int,
    members: Mapping[str, list[int]],
    presence: NDArray[np.bool_],
) -> bool:
    """Give an empty part the smallest group that training can spare; whether there is one."""
    seen = presence[part_of == 0].any(axis=0)
    own = [g for g, m in members.items() if part_of[m[0]] == 0]
    for group in sorted(own, key=lambda g: len(members[g])):
        part_of[members[group]] = part
        left = presence[part_of == 0]
        if len(left) and (left.any(axis=0) == seen).all():
            return True
        part_of[members[group]] = 0
    return False


def _without_copies(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    """Without augmented copies of images that are there themselves."""
    originals = {case.id for case in cases if not is_augmented(case.id)}
    return tuple(
        case for case in cases if not is_augmented(case.id) or base_name(case.id) not in originals
    )
