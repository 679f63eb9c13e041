"""Volumes out: the format by the suffix, the geometry exact, whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from flexseg.errors import ConfigError, DataError
from flexseg.files.volumes.file_formats.file_format import FORMATS, FileFormat, Part, all_formats
from flexseg.files.volumes.paths import volume_stem, volume_suffix
from flexseg.files.volumes.volume import Volume
from flexseg.outputs import make_folder, move, whole

WRITABLE_SUFFIXES = tuple(
    suffix for known in all_formats() if known.write is not None for suffix in known.suffixes
)

_NOT_IN_HEADERS = re.compile(r"[%:=\\\x00-\x1f\x7f]")


def write_volume(path: Path, volume: Volume, *, key: str = "image") -> None:
    """Write a volume; an existing file is replaced once the new one is whole.

    Parameters
    ----------
    path : its suffix is the format, see `WRITABLE_SUFFIXES`. NPY loses the geometry.
    key : the name of the dataset in HDF5.

    Raises
    ------
    ConfigError : another suffix.
    ResourceError : the place cannot be written to.
    """
    suffix = volume_suffix(path)
    known = FORMATS.get(suffix) if suffix else None
    if known is None or known.write is None:
        raise ConfigError(
            f"Volumes cannot be written as {path.suffix or 'a file without suffix'}.",
            f"Choose {', '.join(WRITABLE_SUFFIXES)}.",
            str(path),
        )
    make_folder(path.parent)
    with whole(path) as part:
        written = part.with_name(_name_for_itk(path, known) + suffix)
        try:
            known.write(written, volume, Part(key))
        except OSError as error:
            if error.filename == str(written):
                error.filename = str(part)
            raise
        if known.read_back:
            _check_whole(written, known, volume)
        if written != part:
            move(written, part)


def _name_for_itk(path: Path, known: FileFormat) -> str:
    """The name, without suffix, to write a volume under before it gets its own.

    ITK knows no suffixes in capital letters, and takes a second one (`a.nii.nii.gz`) off. Files of
    voxels keep their name, which a header has to hold: without `%`, `:` and control characters.
    """
    if not known.voxel_suffixes:
        return "volume"
    return _NOT_IN_HEADERS.sub(lambda found: f"={ord(found[0]):02x}", volume_stem(path))


def _check_whole(path: Path, known: FileFormat, volume: Volume) -> None:
    """Read a volume back, as ITK says nothing of a full disk.

    Raises
    ------
    OSError : a part of it is missing.
    """
    for file in path.parent.iterdir():
        with file.open("r+b") as written:  # Windows flushes only what may be written to
            os.fsync(written.fileno())
    try:
        shape = known.read(path, Part()).array.shape
    except DataError as error:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}? {error.problem}") from None
    if shape != volume.array.shape:
        raise OSError(errno.EIO, f"{shape} came back of {volume.array.shape}")
