"""Training, validation and test volumes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flexseg.config.findings import Finding, Severity, amount, examples
from flexseg.dataset.cases import Case
from flexseg.dataset.division.dividing import SHARES, CaseTable, Division, Parts, divide_cases
from flexseg.dataset.division.extending import counted, extend_parts
from flexseg.dataset.division.split_file import read_split_file
from flexseg.dataset.division.splits import SPLITS, SplitName
from flexseg.dataset.labels import LabelClass
from flexseg.dataset.names import NameLookup
from flexseg.dataset.volumetric.scans import Survey
from flexseg.errors import DataError

_VALIDATION = 0.2


def given_division(path: Path, cases: Sequence[Case], patients: Mapping[str, str]) -> Division:
    """The volumes that a split file gives to each split.

    Parameters
    ----------
    patients : the groups as a split file calls them, by volume.

    Raises
    ------
    DataError : the file is of another form, or a volume stands in two splits.
    """
    known = {case.id: case for case in cases}
    by_name: dict[str, list[str]] = defaultdict(list)
    for stem, patient in patients.items():
        by_name[patient].append(stem)
    by_name |= {stem: [stem] for stem in patients}
    lookup = NameLookup(by_name)
    parts: Parts = {}
    seen: dict[str, str] = {}
    missing = []
    for name, entries in read_split_file(path).items():
        chosen = []
        for entry in entries:
            found = lookup.find(entry) or []
            chosen += found
            if not found:
                missing.append(entry)
        for stem in chosen:
            if seen.setdefault(stem, name) != name:
                raise DataError(
                    f"The volume {stem!r} is in {seen[stem]} and in {name}.",
                    "Keep it in one of them: a volume may be in one split only.",
                    str(path),
                )
        # A volume may be named twice, or by its own name and by that of its group.
        parts[name] = tuple(known[stem] for stem in dict.fromkeys(chosen))
    notes = [f"No volume for {amount(len(missing), 'name')} of {path.name}: {examples(missing)}."]
    findings = map(note, notes if missing else ())
    return Division(parts, f"as {path.name} says", path, findings=tuple(findings))


def completed(
    given: Division | None, table: CaseTable, folder: Path, earlier: Mapping[Path, SplitName]
) -> Division:
    """A division with training and validation; there may be no test volumes.

    Parameters
    ----------
    table : of all volumes.
    earlier : see `extend_parts`.

    Raises
    ------
    DataError : there are too few volumes, or none for training is labelled.
    """
    notes = []
    cases = table.cases
    parts = dict(given.parts) if given else {}
    reason = given.reason if given else ""
    if given is None:
        parts = _divided(table, SHARES, earlier)
        reason = "volumes are split by group, with classes spread evenly"
        notes.append("No split is given: volumes are split by group, with classes spread evenly.")
        if earlier:
            known = counted(parts, earlier)
            reason = f"volumes of the earlier network stay where they were: {known}"
    if not parts.get("valid"):
        training = table.only(parts.get("train", ()))
        parts |= _divided(training, (1 - _VALIDATION, _VALIDATION), earlier)
        notes.append(
            "No validation volumes are named: a fifth of the training volumes is held out."
        )
    where = str(given.split_file if given else folder)
    if empty := [name for name in ("train", "valid") if not parts.get(name)]:
        raise DataError(
            f"{amount(len(cases), 'volume')} of "
            f"{amount(len({case.group for case in cases}), 'group')} cannot fill "
            f"the {' and '.join(empty)} split.",
            "Add volumes, at least two of different patients; identical ones count as one.",
            where,
        )
    if not table.only(parts["train"]).presence.any():
        raise DataError(
            f"No training volume has any label: {examples([c.id for c in parts['train']])}.",
            "Put volumes with labels into train.",
            where,
        )
    if not parts.get("test"):
        notes.append("There are no test volumes: only the validation set can be scored.")
    used = {case for own in parts.values() for case in own}
    if unused := [case.id for case in cases if case not in used]:
        notes.append(
            f"{amount(len(unused), 'volume', 'is', 'are')} in no split: {examples(unused)}."
        )
    exact = given is not None and parts == given.parts
    return Division(
        {name: parts.get(name, ()) for name in SPLITS},
        reason,
        given.split_file if given and exact else None,
        not exact,
        (*(given.findings if given else ()), *map(note, notes)),
    )


def _divided(table: CaseTable, shares: Sequence[float], earlier: Mapping[Path, SplitName]) -> Parts:
    """Volumes by group into as many splits as there are shares; every class in its share."""
    if earlier:
        return extend_parts(table, dict(zip(SPLITS, shares, strict=False)), earlier)
    count = len({case.group for case in table.cases})
    if count < 2:
        return {"train": table.cases}
    return divide_cases(table, dict(zip(SPLITS[:count], shares, strict=False)))


def absent_classes(
    parts: Mapping[SplitName, Sequence[str]], survey: Survey, classes: Iterable[LabelClass]
) -> list[Finding]:
    """What tells of classes that no volume of a split shows.

    Parameters
    ----------
    parts : the names of the volumes.
    classes : of the foreground.
    """
    findings = []
    for name, stems in parts.items():
        shown = survey.only(stems).values
        absent = [f"{c.id} ({c.name})" for c in classes if not {*c.values} & {*shown}]
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
                    else "Add volumes that do, or split differently: here nothing shows whether "
                    "it is found.",
                    tuple(absent),
                )
            )
    return findings


def unusable(text: str) -> Finding:
    """Volumes that a person expects to count, and that are left out."""
    return Finding(Severity.WARNING, "data", "unusable-cases", "dataset", text)


def note(text: str) -> Finding:
    """What a person should know of a dataset of volumes."""
    return Finding(Severity.NOTE, "data", "volumes", "dataset", text)
