"""Training, validation and test volumes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from flexseg.config.findings import examples
from flexseg.data.partition import partition
from flexseg.data.splits import SPLITS, SplitName, read_split_file
from flexseg.errors import DataError
from flexseg.planning.volume_survey import Survey

_SHARES = (0.7, 0.15, 0.15)
_VALIDATION = 0.2


def split_volumes(
    survey: Survey, joined: Mapping[str, str], names: Mapping[str, str], path: Path | None
) -> tuple[dict[SplitName, tuple[str, ...]], list[str]]:
    """The volumes of each split, and notes.

    Parameters
    ----------
    joined : the groups that stay together, by volume.
    names : the groups as a split file calls them, by volume.
    path : the split file.

    Raises
    ------
    DataError : the file does not fit, or there are too few volumes.
    """
    notes: list[str] = []
    if path is None:
        split = _made_split(survey, joined, list(survey.scans), _SHARES)
        notes.append("No split is given: volumes are divided by group, classes evenly.")
    else:
        split, notes = _given_split(path, names)
    if not split.get("valid"):
        shares = (1 - _VALIDATION, _VALIDATION)
        split |= _made_split(survey, joined, list(split.get("train", ())), shares)
        notes.append(
            "No validation volumes are named: a fifth of the training volumes is held out."
        )
    empty = [name for name in ("train", "valid") if not split.get(name)]
    if empty:
        raise DataError(
            f"{len(survey.scans)} volumes of {len(set(joined.values()))} group(s) cannot fill the "
            f"{' and '.join(empty)} split.",
            "Give more volumes, at least two of different patients; equal ones count as one.",
            str(path or ""),
        )
    if not split.get("test"):
        notes.append("There are no test volumes: scores can only be of the validation set.")
    return {name: split.get(name, ()) for name in SPLITS}, notes


def _made_split(
    survey: Survey, groups: Mapping[str, str], stems: Sequence[str], shares: Sequence[float]
) -> dict[SplitName, tuple[str, ...]]:
    """Volumes by group into as many splits as there are shares; every class in its share."""
    if not stems:
        return {}
    presence = np.array(
        [[value in survey.scans[stem].counts for value in survey.values] for stem in stems], bool
    )
    count = len({groups[stem] for stem in stems})
    wanted = list(shares[: max(2, count)])
    part_of = partition([groups[stem] for stem in stems], presence, wanted, seed=0)
    return {
        name: tuple(stem for stem, p in zip(stems, part_of, strict=True) if p == part)
        for part, name in enumerate(SPLITS[: len(wanted)])
    }


def _given_split(
    path: Path, groups: Mapping[str, str]
) -> tuple[dict[SplitName, tuple[str, ...]], list[str]]:
    by_name: dict[str, list[str]] = defaultdict(list)
    for stem, group in groups.items():
        by_name[group].append(stem)
    by_name |= {stem: [stem] for stem in groups}
    split: dict[SplitName, tuple[str, ...]] = {}
    seen: dict[str, str] = {}
    missing = []
    for name, entries in read_split_file(path).items():
        chosen = []
        for entry in entries:
            found = by_name.get(entry, [])
            chosen += found
            if not found:
                missing.append(entry)
        for stem in chosen:
            if stem in seen:
                raise DataError(
                    f"The volume {stem!r} stands in {seen[stem]} and in {name}.",
                    "A volume may be in one split only.",
                    str(path),
                )
            seen[stem] = name
        split[name] = tuple(chosen)
    notes = []
    if missing:
        notes.append(
            f"{len(missing)} name(s) of {path.name} are of no volume: {examples(missing)}."
        )
    if unused := [stem for stem in groups if stem not in seen]:
        notes.append(f"{len(unused)} volumes are in no split: {examples(unused)}.")
    return split, notes
