"""Volumes out: the format by the suffix, the geometry exact, whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import SimpleITK as sitk

from flexseg.errors import ConfigError, DataError
from flexseg.files.npy import write_npy
from flexseg.files.volumes.arrays import HDF5_SUFFIXES, write_hdf5
from flexseg.files.volumes.metaimage import read_metaimage
from flexseg.files.volumes.nifti import read_nifti, write_sform
from flexseg.files.volumes.nrrd import read_nrrd
from flexseg.files.volumes.paths import volume_suffix
from flexseg.files.volumes.volume import Volume
from flexseg.outputs import make_folder, whole

_READERS = {
    (".nii", ".nii.gz"): read_nifti,
    (".mha", ".mhd"): read_metaimage,
    (".nrrd", ".nhdr"): read_nrrd,
}
WRITABLE_SUFFIXES = (
    ".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".npy", ".h5", ".hdf5",
)  # fmt: skip


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
    if suffix not in WRITABLE_SUFFIXES:
        raise ConfigError(
            f"Volumes are not written as {path.suffix or 'a file without suffix'}.",
            f"Choose {', '.join(WRITABLE_SUFFIXES)}.",
            str(path),
        )
    make_folder(path.parent)
    with whole(path) as part:
        _write(part, suffix, volume, key)


def _write(path: Path, suffix: str, volume: Volume, key: str) -> None:
    if suffix == ".npy":
        write_npy(path, volume.array)
    elif suffix in HDF5_SUFFIXES:
        write_hdf5(path, volume, key)
    else:
        try:
            sitk.WriteImage(volume.image(), str(path), useCompression=suffix != ".nii")
        except RuntimeError as error:
            raise OSError(str(error).strip().splitlines()[-1]) from None
        if suffix in (".nii", ".nii.gz") and volume.sheared:
            write_sform(path, volume.affine)
        _check_whole(path, suffix, volume)


def _check_whole(path: Path, suffix: str, volume: Volume) -> None:
    """Read a volume back, as ITK says nothing of a full disk.

    Raises
    ------
    OSError : a part of it is missing.
    """
    for file in path.parent.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
    read = next(reader for suffixes, reader in _READERS.items() if suffix in suffixes)
    try:
        shape = read(path).array.shape
    except DataError as error:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}? {error.problem}") from None
    if shape != volume.array.shape:
        raise OSError(errno.EIO, f"{shape} came back of {volume.array.shape}")
