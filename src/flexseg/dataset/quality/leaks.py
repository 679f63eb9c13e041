"""What training has seen of validation or test: scores on it say too much."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from flexseg.config.findings import Finding, Severity, amount, examples, some_of
from flexseg.dataset.cases import Case, group_of
from flexseg.dataset.division.grouping import guess_group
from flexseg.dataset.looks import Look
from flexseg.dataset.names import base_name, is_augmented
from flexseg.dataset.quality.duplicates import NearDuplicate, find_near_duplicates
from flexseg.dataset.quality.hash_file import HashFile

# The cases of each part by its name, in order: of the splits, or of the folds.
Parts = Mapping[str, Sequence[Look]]
Key = TypeVar("Key", str, bytes)

_GROUP = {
    "split": "`flexseg split` splits by group and keeps copies together.",
    "fold": "Name the group in [dataset] group: folds never divide one.",
}
_BY_HEADERS = {
    "split": "`flexseg split CONFIG -o split.json` then keeps each patient in one split, and "
    "[dataset] split_file = 'split.json' takes that over.",
    "fold": "folds then keep each patient in one.",
}


def leak_findings(
    parts: Parts, hashes: HashFile | None = None, *, named: bool, one_folder: bool = False
) -> list[Finding]:
    """Cases, copies of them, or groups that are in more than one split.

    Parameters
    ----------
    hashes : of the images that have one; without it near copies are not looked for.
    named : a pattern was given that finds groups in the names.
    one_folder : validation and test are one folder, which is told once; training still counts.
    """
    same = {"valid", "test"} if one_folder else set()
    return [
        *(_validation_is_test() if one_folder else []),
        *_across_parts(parts, hashes, same, named, "split"),
        *_augmented({name: parts[name] for name in ("valid", "test") if name in parts}),
    ]


def fold_leak_findings(
    parts: Parts, hashes: HashFile | None = None, *, named: bool
) -> list[Finding]:
    """What the network of a fold may have seen of the cases that it is scored on.

    Two cases of different folds are on both sides of the boundary in both folds: either is held
    out while the other one trains or validates. One look at all pairs is a look at every fold.

    Parameters
    ----------
    parts : the cases that each fold holds out.
    hashes, named : see `leak_findings`.
    """
    everything = [look for part in parts.values() for look in part]
    return [*_across_parts(parts, hashes, set(), named, "fold"), *_augmented({"folds": everything})]


def _across_parts(
    parts: Parts, hashes: HashFile | None, same: set[str], named: bool, unit: str
) -> list[Finding]:
    """Cases, copies or groups in several parts; the parts `same` are one, `unit` is their kind."""
    return [
        *_exact_duplicates(parts, same, unit),
        *([] if hashes is None else _near_duplicates(parts, hashes, same, named, unit)),
        *(_named_groups if named else _unnamed_groups)(parts, same, unit),
        *_patients(parts, same, unit),
    ]


def _finding(
    severity: Severity, code: str, unit: str, what: str, fix: str, items: list[str]
) -> Finding:
    return Finding(severity, "data", code, f"{unit}s", what, fix, tuple(items))


def _validation_is_test() -> list[Finding]:
    return [
        Finding(
            Severity.WARNING,
            "data",
            "validation-is-test",
            "[valid] and [test]",
            "The validation set is the test set: the best epoch is chosen on the images that "
            "it is then scored on, so the score is too good.",
            "Take validation images from the training set.",
        )
    ]


def _exact_duplicates(parts: Parts, same: set[str], unit: str) -> list[Finding]:
    across, within = [], []
    for places in _repeated(parts, lambda look: look.digest).values():
        names = " = ".join(f"{part} {f.case.id}" for part, own in places.items() for f in own)
        if len(places) > 1 and set(places) != same:
            across.append(names)
        elif any(len(own) > 1 for own in places.values()):
            within.append(names)
    findings = []
    if across:
        findings.append(
            _finding(
                Severity.WARNING,
                "duplicates-across-splits",
                unit,
                f"{amount(len(across), 'image', 'is', 'are')} in more than one {unit}, pixel for "
                f"pixel: {examples(across)}.",
                f"Keep each of them in one {unit} only: a score on images that were trained on "
                "means nothing.",
                across,
            )
        )
    if within:
        findings.append(
            _finding(
                Severity.NOTE,
                "duplicates",
                unit,
                f"{amount(len(within), 'image', 'occurs', 'occur')} twice within a {unit}: "
                f"{examples(within)}.",
                "",
                within,
            )
        )
    return findings


def _near_duplicates(
    parts: Parts, hashes: HashFile, same: set[str], named: bool, unit: str
) -> list[Finding]:
    """Copies that are flipped, rotated, resized or mildly warped, whatever their names say."""
    names = list(parts)
    looks = [f for p in names for f in parts[p] if f.image_hash is not None]
    counts = [sum(f.image_hash is not None for f in parts[p]) for p in names]
    part_of = np.repeat(np.arange(len(names), dtype=np.int16), counts)

    def known(first: int, second: int) -> bool:
        """Whether another finding tells of this pair."""
        a, b = looks[first].case, looks[second].case
        return (
            looks[first].digest == looks[second].digest
            or {names[part_of[first]], names[part_of[second]]} == same
            or (a.group == b.group and (named or is_augmented(a.id) or is_augmented(b.id)))
        )

    numbers = np.array([f.image_hash for f in looks], np.intp)
    pairs = find_near_duplicates(hashes.chosen(numbers), part_of, skip=known)
    if not pairs:
        return []
    items = [
        _described(pair, looks, [names[i] for i in part_of[[pair.first, pair.second]]])
        for pair in pairs
    ]
    images = {index for pair in pairs for index in (pair.first, pair.second)}
    return [
        _finding(
            Severity.WARNING,
            "near-duplicates-across-splits",
            unit,
            f"{amount(len(items), 'pair')} from different {unit}s, {len(images)} images in all, "
            f"{'looks' if len(items) == 1 else 'look'} like "
            f"copies of one image or neighbouring slices: {examples(items)}.",
            f"Look at them. Copies belong in one {unit}: name a group for them ([dataset] group) "
            "or remove them.",
            items,
        )
    ]


def _described(pair: NearDuplicate, looks: Sequence[Look], parts: Sequence[str]) -> str:
    a, b = looks[pair.first].case, looks[pair.second].case
    moved = ["mirrored"] if pair.flipped else []
    # The angle is known to some 6 degrees; that of a mirrored copy depends on the axis.
    if pair.angle > 6:
        moved.append(f"rotated by about {pair.angle:.0f} degrees")
    hint = f" ({', '.join(moved)})" if moved else ""
    return f"{parts[0]} {a.id} ~ {parts[1]} {b.id}{hint}"


def _shared(
    parts: Parts, same: set[str], key: Callable[[Case], str] = lambda case: case.group
) -> dict[str, dict[str, list[Look]]]:
    """The groups that have cases in several parts, with those of each part.

    Parameters
    ----------
    key : the group of a case; empty if it is in none.
    """
    found = _repeated(parts, lambda look: key(look.case))
    return {g: p for g, p in found.items() if len(p) > 1 and set(p) != same}


def _repeated(parts: Parts, key: Callable[[Look], Key]) -> dict[Key, dict[str, list[Look]]]:
    """What several looks have, with those of each part; nothing is kept of what only one has.

    Parameters
    ----------
    key : of a look; empty if it does not count.
    """
    seen: set[Key] = set()
    several: set[Key] = set()
    for own in parts.values():
        for look in own:
            (several if (name := key(look)) in seen else seen).add(name)
    found: dict[Key, dict[str, list[Look]]] = {}
    for part, own in parts.items():
        for look in own:
            if (name := key(look)) and name in several:
                found.setdefault(name, {}).setdefault(part, []).append(look)
    return found


def _described_places(places: Parts) -> str:
    """The parts that one group lies in, each with some of its cases."""
    return " ~ ".join(
        f"{part} {examples([look.case.id for look in own], 2)}" for part, own in places.items()
    )


def _named_groups(parts: Parts, same: set[str], unit: str) -> list[Finding]:
    shared = sorted(_shared(parts, same))
    if not shared:
        return []
    return [
        _finding(
            Severity.WARNING,
            "groups-across-splits",
            unit,
            f"{amount(len(shared), 'group')} (patients, volumes) "
            f"{'has' if len(shared) == 1 else 'have'} cases in more than one {unit}: "
            f"{examples(shared)}.",
            f"Split by group: cases of one patient resemble each other. {_GROUP[unit]}",
            shared,
        )
    ]


def _patients(parts: Parts, same: set[str], unit: str) -> list[Finding]:
    """Patients whom DICOM headers name; one alone is the name that all anonymous files have."""
    known = {look.case.patient for cases in parts.values() for look in cases} - {""}
    shared = _shared(parts, same, lambda case: case.patient)
    if len(known) < 2 or not shared:
        return []
    items = [_described_places(places) for places in shared.values()]
    return [
        _finding(
            Severity.WARNING,
            "patients-across-splits",
            unit,
            f"{len(shared)} of {amount(len(known), 'patient')} in the DICOM headers "
            f"{'has' if len(shared) == 1 else 'have'} images in more than one {unit}: "
            f"{examples(items)}.",
            "Images of one patient resemble each other, so the score is too good. Take [dataset] "
            f"group out, if there is one: {_BY_HEADERS[unit]}",
            sorted(items),
        )
    ]


def _unnamed_groups(parts: Parts, same: set[str], unit: str) -> list[Finding]:
    """Groups that only the names tell of: of patients, and of augmented copies."""
    pattern, _ = guess_group([look.case.id for cases in parts.values() for look in cases])
    parted = sorted(_shared(parts, same, lambda c: group_of(c.id, pattern))) if pattern else []
    findings = []
    if parted:
        findings.append(
            _finding(
                Severity.WARNING,
                "unnamed-groups-across-splits",
                unit,
                f"By the names, {len(parted)} "
                f"{'patient or volume has' if len(parted) == 1 else 'patients or volumes have'} "
                f"cases in more than one {unit}: {examples(parted)}.",
                "If cases of one name belong together, the score is too good: set [dataset] group "
                f"= '{pattern}'. {_GROUP[unit]}",
                parted,
            )
        )
    # Without a pattern a group is one image with its augmented copies. Equal plain names say
    # nothing: each folder may count from 1.
    copies = {
        name: found
        for name, found in _shared(parts, same, lambda case: base_name(case.id)).items()
        if any(is_augmented(f.case.id) for part in found.values() for f in part)
    }
    if not copies:
        return findings
    items = [_described_places(copies[name]) for name in sorted(copies)]
    return [
        *findings,
        _finding(
            Severity.WARNING,
            "siblings-across-splits",
            unit,
            f"By their names, {amount(len(items), 'image', 'has', 'have')} augmented copies in "
            f"another {unit}: {examples(items, 2)}.",
            f"Split first, then augment the training cases. {_GROUP[unit]}",
            items,
        ),
    ]


def _augmented(parts: Parts) -> list[Finding]:
    findings = []
    for part, cases in parts.items():
        names = [f.case.id for f in cases if is_augmented(f.case.id)]
        if names:
            findings.append(
                Finding(
                    Severity.WARNING,
                    "data",
                    "augmented-cases",
                    f"[{part}]",
                    "By their names, "
                    f"{some_of(len(names), len(cases), 'image', 'is', 'are')} augmented: "
                    f"{examples(names)}.",
                    "A score on distorted images says little about real ones: keep only the "
                    "originals, and augment only training images.",
                    tuple(names),
                )
            )
    return findings
