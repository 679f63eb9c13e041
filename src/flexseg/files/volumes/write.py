"""Volumes out: the format by the suffix, the geometry exact, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from flexseg.errors import ConfigError
from flexseg.files.volumes.arrays import HDF5_SUFFIXES, write_hdf5, write_npy
from flexseg.files.volumes.nifti import write_sform
from flexseg.files.volumes.paths import volume_suffix
from flexseg.files.volumes.volume import Volume
from flexseg.outputs import make_folder, whole

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
        write_npy(path, volume)
    elif suffix in HDF5_SUFFIXES:
        write_hdf5(path, volume, key)
    else:
        try:
            sitk.WriteImage(volume.image(), str(path), useCompression=suffix != ".nii")
        except RuntimeError as error:
            raise OSError(str(error).strip().splitlines()[-1]) from None
        if suffix in (".nii", ".nii.gz") and volume.sheared:
            write_sform(path, volume.affine)
