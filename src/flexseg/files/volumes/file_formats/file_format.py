"""What is known of a file format of volumes, in one place; reading, writing and names ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flexseg.files.volumes.volume import Volume
from flexseg.registry import Registry


@dataclass(frozen=True)
class Part:
    """Which of several volumes in one file or folder is meant; most formats hold only one.

    Attributes
    ----------
    key : the name of the dataset in HDF5.
    series : a part of the UID or of the description of a DICOM series.
    """

    key: str = "image"
    series: str | None = None


@dataclass(frozen=True)
class FileFormat:
    """A file format of volumes.

    Attributes
    ----------
    suffixes : of its files, in small letters.
    read : (path, part) -> volume; its array is read-only, [z, y, x] or [z, y, x, channels]. It
        raises `DataError` for whatever is no whole file of this format.
    write : (path, volume, part) writes a file; None: the format is only read. It raises `OSError`
        where the place cannot be written to.
    geometry : spacing, origin and direction are stored.
    only_volumes : no file of it is a single 2-D image.
    read_back : written files are read again, as what writes them may not notice a full disk.
    voxel_suffixes : of further files that hold the voxels, named in a header.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path, Part], Volume]
    write: Callable[[Path, Volume, Part], None] | None = None
    geometry: bool = True
    only_volumes: bool = True
    read_back: bool = True
    voxel_suffixes: tuple[str, ...] = ()


FORMATS: Registry[FileFormat] = Registry("file format of volumes")


def register_format(name: str, file_format: FileFormat) -> None:
    """Enter a format, under its own name and its suffixes."""
    FORMATS.register(name, *file_format.suffixes)(file_format)


def all_formats() -> list[FileFormat]:
    """All registered formats."""
    return [FORMATS.get(name) for name in FORMATS]
