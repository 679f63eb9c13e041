"""Volumes that are there twice, whatever their names are, and patients in several splits."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from flexseg.config.findings import Finding, Severity, amount, examples
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.volumetric.pairing import VolumePair
from flexseg.dataset.volumetric.scans import Survey
from flexseg.files.volumes.read import read_volume


def equal_volumes(pairs: Mapping[str, VolumePair], survey: Survey) -> list[list[str]]:
    """The volumes whose images are the same, each list of two or more.

    Only what may be equal is compared: files of the same length byte by byte, images whose labels
    have the same shape and as many voxels of each class by their grey values.

    Parameters
    ----------
    pairs : by the name that slices begin with.

    Raises
    ------
    DataError : an image cannot be read.
    """
    files = {stem: pair.image for stem, pair in pairs.items() if pair.image.is_file()}
    by_length = _together((stem, path.stat().st_size) for stem, path in files.items())
    by_labels = _together(
        (stem, (scan.shape, tuple(sorted(scan.counts.items()))))
        for stem, scan in survey.scans.items()
        if any(scan.counts.get(value) for value in survey.values)
    )
    bytes_of = ((s, _digest_of_file(files[s])) for same in by_length for s in same)
    grey_of = ((s, _digest_of_grey(pairs[s].image)) for same in by_labels for s in same)
    found = [*_together(bytes_of), *_together(grey_of)]
    return [same for i, same in enumerate(found) if same not in found[:i]]


def joined_groups(groups: Mapping[str, str], equal: Iterable[Sequence[str]]) -> dict[str, str]:
    """The group of each volume, where groups that share an image are one."""
    joined = dict(groups)
    for first, *others in equal:
        same = {joined[stem] for stem in others}
        joined = {s: joined[first] if group in same else group for s, group in joined.items()}
    return joined


def _together(items: Iterable[tuple[str, Hashable]]) -> list[list[str]]:
    """The names that have a key in common with another one."""
    found: dict[Hashable, list[str]] = defaultdict(list)
    for name, key in items:
        found[key].append(name)
    return [names for names in found.values() if len(names) > 1]


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_grey(path: Path) -> tuple[str, tuple[int, ...]]:
    array = read_volume(path).array
    return hashlib.sha256(array.tobytes()).hexdigest(), array.shape


def copies_across(
    split: Mapping[SplitName, Sequence[str]], equal: Iterable[Sequence[str]]
) -> list[Finding]:
    """What tells of equal volumes that lie in several splits."""
    place = {stem: name for name, stems in split.items() for stem in stems}
    across = []
    for same in equal:
        used = sorted((place[stem], stem) for stem in same if stem in place)
        if len({name for name, _ in used}) > 1:
            across.append(" = ".join(f"{name} {stem}" for name, stem in used))
    if not across:
        return []
    return [
        Finding(
            Severity.WARNING,
            "data",
            "duplicates-across-splits",
            "splits",
            f"{amount(len(across), 'volume', 'is', 'are')} in more than one split: "
            f"{examples(across)}.",
            "Keep each of them in one split only: a score on volumes that were trained on means "
            "nothing.",
            tuple(across),
        )
    ]


def groups_across(
    split: Mapping[SplitName, Sequence[str]], groups: Mapping[str, str]
) -> list[Finding]:
    """What tells of groups whose volumes lie in several splits.

    Parameters
    ----------
    groups : the patient of each volume.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for name, stems in split.items():
        for stem in stems:
            places[groups[stem]].add(name)
    parted = sorted(group for group, names in places.items() if len(names) > 1)
    if not parted:
        return []
    return [
        Finding(
            Severity.WARNING,
            "data",
            "groups-across-splits",
            "splits",
            f"{amount(len(parted), 'group')} (patients) {'has' if len(parted) == 1 else 'have'} "
            f"volumes in more than one split: {examples(parted)}.",
            "Keep each patient in one split only: volumes of one patient resemble each other.",
            tuple(parted),
        )
    ]
