"""Training, validation and test volumes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from flexseg.config.findings import Finding, Severity, examples
from flexseg.dataset.cases import Case
from flexseg.dataset.dividing import SHARES, divide_cases
from flexseg.dataset.labels import LabelClass
from flexseg.dataset.splits import SPLITS, SplitName, read_split_file
from flexseg.dataset.volumes.scans import Survey
from flexseg.errors import DataError

_VALIDATION = 0.2

VolumeSplit = dict[SplitName, tuple[str, ...]]


def split_volumes(
    survey: Survey, cases: Sequence[Case], names: Mapping[str, str], path: Path | None
) -> tuple[VolumeSplit, list[str]]:
    """The volumes of each split, and notes.

    Parameters
    ----------
    cases : the volumes, in groups that stay together.
    names : the groups as a split file calls them, by volume.
    path : the split file.

    Raises
    ------
    DataError : the file does not fit, there are too few volumes, or none for training is labelled.
    """
    notes: list[str] = []
    if path is None:
        split = _made_split(survey, cases, SHARES)
        notes.append("No split is given: volumes are divided by group, classes evenly.")
    else:
        split, notes = _given_split(path, names)
    if not split.get("valid"):
        known = [case for case in cases if case.id in split.get("train", ())]
        split |= _made_split(survey, known, (1 - _VALIDATION, _VALIDATION))
        notes.append(
            "No validation volumes are named: a fifth of the training volumes is held out."
        )
    empty = [name for name in ("train", "valid") if not split.get(name)]
    if empty:
        raise DataError(
            f"{len(cases)} volumes of {len({case.group for case in cases})} group(s) cannot fill "
            f"the {' and '.join(empty)} split.",
            "Give more volumes, at least two of different patients; equal ones count as one.",
            str(path or ""),
        )
    if not survey.only(split["train"]).values:
        raise DataError(
            f"No training volume has any label: {examples(list(split['train']))}.",
            "Put volumes with labels into train.",
            str(path or ""),
        )
    if not split.get("test"):
        notes.append("There are no test volumes: scores can only be of the validation set.")
    used = {stem for stems in split.values() for stem in stems}
    if unused := [case.id for case in cases if case.id not in used]:
        notes.append(f"{len(unused)} volumes are in no split: {examples(unused)}.")
    return {name: split.get(name, ()) for name in SPLITS}, notes


def _made_split(survey: Survey, cases: Sequence[Case], shares: Sequence[float]) -> VolumeSplit:
    """Volumes by group into as many splits as there are shares; every class in its share."""
    count = len({case.group for case in cases})
    if count < 2:
        return {"train": tuple(case.id for case in cases)}
    values = survey.values
    presence = np.array([[v in survey.scans[c.id].counts for v in values] for c in cases])
    wanted = dict(zip(SPLITS[:count], shares, strict=False))
    # Equal volumes are of one group already.
    digests = {case.id: case.id for case in cases}
    made = divide_cases(cases, presence, digests, wanted)
    return {name: tuple(case.id for case in own) for name, own in made.items()}


def absent_classes(
    split: VolumeSplit, survey: Survey, classes: Sequence[LabelClass]
) -> list[Finding]:
    """What tells of classes that no volume of a split shows.

    Parameters
    ----------
    classes : background first.
    """
    findings = []
    for name, stems in split.items():
        shown = survey.only(stems).values
        absent = [f"{c.id} ({c.name})" for c in classes[1:] if not {*c.values} & {*shown}]
        if stems and absent:
            findings.append(
                Finding(
                    Severity.WARNING,
                    "data",
                    "class-absent",
                    f"[{name}]",
                    f"No volume of this split shows the class{'es' if len(absent) > 1 else ''} "
                    f"{examples(absent)}.",
                    "What is in no training volume cannot be learned."
                    if name == "train"
                    else "Add volumes that do, or divide otherwise: nothing tells here whether it "
                    "is found.",
                    tuple(absent),
                )
            )
    return findings


def _given_split(path: Path, groups: Mapping[str, str]) -> tuple[VolumeSplit, list[str]]:
    by_name: dict[str, list[str]] = defaultdict(list)
    for stem, group in groups.items():
        by_name[group].append(stem)
    by_name |= {stem: [stem] for stem in groups}
    split: VolumeSplit = {}
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
            if seen.setdefault(stem, name) != name:
                raise DataError(
                    f"The volume {stem!r} stands in {seen[stem]} and in {name}.",
                    "A volume may be in one split only.",
                    str(path),
                )
        # A volume may be named twice, or by its own name and by that of its group.
        split[name] = tuple(dict.fromkeys(chosen))
    if not missing:
        return split, []
    return split, [f"{len(missing)} name(s) of {path.name} are of no volume: {examples(missing)}."]
