"""Volumes as bare arrays: NPY and HDF5.

Their axes are [z, y, x] or [z, y, x, channels]; [y, x] is one slice. NPY has no geometry. In
HDF5 it stands in the attributes `spacing`, `origin` and `direction` of the dataset, as in
`Volume`, if flexseg wrote it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.volumes.volume import Volume

logger = logging.getLogger(__name__)

HDF5_SUFFIXES = (".h5", ".hdf5")
_GEOMETRY = {"spacing": 3, "origin": 3, "direction": 9}


def read_npy(path: Path) -> Volume:
    """An NPY file as a volume of 1 mm voxels, which is said. Pickled objects are never loaded.

    Raises
    ------
    DataError : damaged, no numbers, or not of 2 to 4 axes.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(array, np.ndarray):  # a zip archive of arrays under this name
        raise _unreadable(path, ValueError("it is an NPZ archive"))
    return _volume(array, path, {})


def read_hdf5(path: Path, key: str) -> Volume:
    """A dataset of an HDF5 file as a volume.

    Raises
    ------
    DataError : damaged, no such dataset, no numbers, or not of 2 to 4 axes.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            node = file.get(key)
            if not isinstance(node, h5py.Dataset):
                raise _no_dataset(file, key, path, node is not None)
            _check(node.dtype, node.shape, path)
            geometry = {name: node.attrs[name] for name in _GEOMETRY if name in node.attrs}
            return _volume(node[()], path, geometry)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(path, error) from None


def _no_dataset(file: Any, key: str, path: Path, is_group: bool) -> DataError:
    import h5py

    found: list[str] = []
    file.visititems(
        lambda name, node: (
            found.append(f"{name} {list(node.shape)}") if isinstance(node, h5py.Dataset) else None
        )
    )
    kind = "is a group, no dataset" if is_group else "does not exist"
    return DataError(
        f"The dataset {key!r} {kind}. Found: {', '.join(found) or 'none'}.",
        "Name one of them: [infer3d] hdf5_key, or --key and --label-key of `flexseg derive "
        "volumes`.",
        str(path),
    )


def write_npy(path: Path, volume: Volume) -> None:
    """Write the voxels; the geometry is lost."""
    with path.open("wb") as file:
        np.save(file, volume.array, allow_pickle=False)


def write_hdf5(path: Path, volume: Volume, key: str) -> None:
    """Write the voxels as one dataset, compressed, with the geometry as attributes."""
    import h5py

    with h5py.File(path, "w") as file:
        node = file.create_dataset(key, data=volume.array, compression="gzip", compression_opts=4)
        for name in _GEOMETRY:
            node.attrs[name] = getattr(volume, name)


def _volume(array: NDArray, path: Path, geometry: dict[str, Any]) -> Volume:
    _check(array.dtype, array.shape, path)
    if array.dtype == bool:
        array = array.view(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    array.flags.writeable = False
    affine = _affine(geometry)
    if affine is None:
        logger.warning("%s: its geometry is not known; voxels of 1 mm are taken.", path)
        return Volume(array)
    return Volume(array).with_affine(affine)


def _affine(geometry: dict[str, Any]) -> NDArray[np.float64] | None:
    """[4, 4] of spacing, origin and direction; None if they are missing or make no sense."""
    try:
        spacing, origin, direction = (
            np.reshape(np.asarray(geometry[name], float), count)
            for name, count in _GEOMETRY.items()
        )
    except (KeyError, TypeError, ValueError):
        return None
    affine = np.eye(4)
    affine[:3, :3] = direction.reshape(3, 3) * spacing
    affine[:3, 3] = origin
    usable = np.isfinite(affine).all() and spacing.min() > 0
    return affine if usable and abs(np.linalg.det(affine)) > 1e-12 else None


def _check(dtype: np.dtype, shape: tuple[int, ...] | None, path: Path) -> None:
    if dtype.kind not in "biuf":
        raise DataError(
            f"The array holds values of type {dtype}, no numbers.",
            "Save it as whole numbers or floats.",
            str(path),
        )
    if shape is None or not 2 <= len(shape) <= 4 or 0 in shape:
        raise DataError(
            f"The array has the shape {list(shape or ())}.",
            "Save one volume per file: [z, y, x], or [z, y, x, channels].",
            str(path),
        )


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = "the file is empty" if path.stat().st_size == 0 else str(error).splitlines()[0]
    if "pickle" in reason.lower():
        reason = "it holds Python objects, which are never loaded"
    return DataError(
        f"It cannot be read as a volume ({reason.rstrip('.')}).",
        "It is damaged, or of another format than its name says: copy or export it again.",
        str(path),
    )
