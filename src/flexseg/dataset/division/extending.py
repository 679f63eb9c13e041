"""A division of cases of which some were divided before: these stay where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flexseg.config.findings import Finding, Severity, amount, examples
from flexseg.dataset.cases import Case
from flexseg.dataset.division.dividing import SEED, CaseTable, Parts, divide_cases, groups_of_images
from flexseg.dataset.division.splits import SPLITS, SplitName

# Of a group that was in several parts: new cases go where they teach nothing.
_GUARDED: tuple[SplitName, ...] = ("test", "valid", "train")


def extend_parts(
    table: CaseTable,
    shares: Mapping[SplitName, float],
    earlier: Mapping[Path, SplitName],
    seed: int = SEED,
) -> Parts:
    """Divide cases so that those that were divided before keep their part.

    New cases of an old group, as another image of an old test patient, go where the group is. All
    other new cases are divided as `divide_cases` divides; where these are too few groups for all
    parts, parts without any case come first, then training.

    Parameters
    ----------
    shares : of the splits that are to be made, training among them.
    earlier : the part of each image that has one; what was in none of those to be made trains.

    A part may stay empty.
    """
    names = [split for split in SPLITS if shares.get(split, 0) > 0]
    groups = groups_of_images(table)
    old: dict[Case, SplitName] = {
        case: part if (part := earlier[case.image]) in names else "train"
        for case in table.cases
        if case.image in earlier
    }
    by_group: dict[str, SplitName] = {}
    for case, group in zip(table.cases, groups, strict=True):
        if case in old:
            parts = (old[case], by_group.get(group, old[case]))
            by_group[group] = min(parts, key=_GUARDED.index)
    chosen = {
        case: old.get(case, by_group.get(group))
        for case, group in zip(table.cases, groups, strict=True)
    }
    new = [case for case, part in chosen.items() if part is None]
    known = {part for part in chosen.values() if part is not None}
    chosen |= _new_parts(table.only(new), names, shares, known, seed)
    return {split: tuple(case for case in table.cases if chosen[case] == split) for split in names}


def _new_parts(
    table: CaseTable,
    names: Sequence[SplitName],
    shares: Mapping[SplitName, float],
    known: set[SplitName],
    seed: int,
) -> dict[Case, SplitName | None]:
    """The part of each new case; None for copies that belong to no part."""
    groups = groups_of_images(table)
    if len(set(groups)) >= len(names):
        made = divide_cases(table, shares, seed)
        found: dict[Case, SplitName | None] = dict.fromkeys(table.cases)
        return found | {case: split for split, own in made.items() for case in own}
    # The test first: without one nothing tells what the network is worth.
    empty = [split for split in _GUARDED if split in names and split not in known]
    part_of: dict[str, SplitName] = dict.fromkeys(groups, "train")
    part_of |= dict(zip(part_of, empty, strict=False))
    return {case: part_of[group] for case, group in zip(table.cases, groups, strict=True)}


def counted(parts: Parts, earlier: Mapping[Path, SplitName]) -> str:
    """How many cases of each part were there before, in words."""
    texts = []
    for split, cases in parts.items():
        old = sum(case.image in earlier for case in cases)
        texts.append(f"{split} {len(cases)} ({old} earlier, {len(cases) - old} new)")
    return ", ".join(texts)


def tested_finding(names: list[str], where: str) -> Finding:
    """What tells that cases which tested an earlier network are trained on."""
    return Finding(
        Severity.WARNING,
        "data",
        "earlier-tests-trained",
        where,
        f"{amount(len(names), 'training case', 'was a test case', 'were test cases')} of the "
        f"earlier network: {examples(names)}. The scores of the two networks are then of "
        "different cases, and cannot be compared.",
        "Keep them in the test split, as `flexseg plan --from` does when it extends the earlier "
        "split.",
        tuple(names),
    )
