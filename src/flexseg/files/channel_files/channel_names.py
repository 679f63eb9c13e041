"""Images and volumes with a file for each channel, as nnU-Net's `case_0000`, `case_0001`.

Which files are one image is said here alone: those of one folder, of equal suffix, whose names
differ in the four digits at their end. Arrays (.npy) are none of them: they hold all channels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from flexseg.files.volumes.paths import volume_suffix

_ENDING = re.compile(r"(.+[-_ .])(\d{4})", re.DOTALL)


def channel_of(stem: str) -> tuple[str, int] | None:
    """The image that a file without suffix is of by its name, and its channel; None of others.

    Examples
    --------
    >>> channel_of("brain_0001")
    ('brain', 1)
    """
    match = _ENDING.fullmatch(stem)
    return (match[1][:-1], int(match[2])) if match else None


def image_of(path: Path) -> str | None:
    """The image that the file of a channel is of; None of other files."""
    stem, suffix = _parts(path)
    found = None if suffix == ".npy" or path.is_dir() else channel_of(stem)
    return found[0] if found else None


def channel_files(path: Path, count: int) -> tuple[Path, ...]:
    """The files of all channels of the image that a file is of, whether they are there or not."""
    stem, _ = _parts(path)
    end = path.name[len(stem) :]
    return tuple(path.with_name(f"{stem[:-4]}{number:04d}{end}") for number in range(count))


def missing_channels(path: Path, count: int) -> list[str]:
    """The names of the files that an image of so many channels lacks."""
    return [file.name for file in channel_files(path, count) if not file.exists()]


def first_files(paths: Sequence[Path], count: int) -> list[Path]:
    """Of the files of each image the first one that is there; other files as they are.

    Parameters
    ----------
    count : of channels; files of higher numbers are other images.
    """
    found: dict[tuple[Path, str, str] | Path, Path] = {}
    for path in paths:
        stem, suffix = _parts(path)
        name = image_of(path)
        number = channel_of(stem)
        whole = name is None or number is None or number[1] >= count
        found.setdefault(path if whole else (path.parent, stem[:-4], suffix), path)
    return [*found.values()]


def _parts(path: Path) -> tuple[str, str]:
    """Name without suffix, and suffix in small letters; `.nii.gz` is one."""
    suffix = volume_suffix(path) or path.suffix.lower()
    return path.name[: len(path.name) - len(suffix)], suffix
