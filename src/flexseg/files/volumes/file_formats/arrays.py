"""Volumes as bare arrays: NPY and HDF5.

Their axes are [z, y, x] or [z, y, x, channels]; [y, x] is one slice. NPY has no geometry. In
HDF5 it stands in the attributes `spacing`, `origin` and `direction` of the dataset, as in
`Volume`, if flexseg wrote it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files import npy
from flexseg.files.hdf5 import check_stored, elsewhere, open_hdf5, written_hdf5
from flexseg.files.volumes.file_formats.file_format import FileFormat, register_format
from flexseg.files.volumes.payload import explain_damage, to_native
from flexseg.files.volumes.volume import Volume

if TYPE_CHECKING:
    import h5py

logger = logging.getLogger(__name__)

_GEOMETRY = {"spacing": 3, "origin": 3, "direction": 9}
_MOST_LINKS = 16


def read_npy(path: Path) -> Volume:
    """An NPY file as a volume of 1 mm voxels, which is said. Pickled objects are never loaded.

    Raises
    ------
    DataError : damaged, no numbers, or not of 2 to 4 axes.
    """
    with explain_damage(path):
        return _volume(npy.read_npy(path), path, {})


def read_hdf5(path: Path, key: str) -> Volume:
    """A dataset of an HDF5 file as a volume.

    Raises
    ------
    DataError : damaged, no such dataset, no numbers, or not of 2 to 4 axes.
    """
    import h5py

    with explain_damage(path), open_hdf5(path) as file:
        _check_links(file, key, path)
        node = file.get(key)
        if not isinstance(node, h5py.Dataset):
            raise _no_dataset(file, key, path, node is not None)
        _check(node.dtype, node.shape, path)
        check_stored(node, path)
        geometry = {name: node.attrs[name] for name in _GEOMETRY if name in node.attrs}
        return _volume(node[()], path, geometry)


def _check_links(file: h5py.Group, key: str, path: Path) -> None:
    """Refuse a name that leads into another file, or around in circles, before it is followed.

    Raises
    ------
    DataError, ValueError : it does.
    """
    import h5py

    group, parts, followed = file, key.split("/"), 0
    while parts:
        name = parts.pop(0)
        if not name or name == ".":
            continue
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            return
        if isinstance(link, h5py.ExternalLink):
            raise elsewhere(path)
        if isinstance(link, h5py.SoftLink):
            followed += 1
            if followed > _MOST_LINKS:
                raise ValueError("its links lead back to themselves")
            group = file if link.path.startswith("/") else group
            parts = link.path.split("/") + parts
        else:
            group = group.get(name)


def _no_dataset(file: h5py.Group, key: str, path: Path, is_group: bool) -> DataError:
    import h5py

    found: list[str] = []
    file.visititems(
        lambda name, node: (
            found.append(f"{name} {list(node.shape)}") if isinstance(node, h5py.Dataset) else None
        )
    )
    kind = "is a group, not a dataset" if is_group else "does not exist"
    return DataError(
        f"The dataset {key!r} {kind}. Found: {', '.join(found) or 'none'}.",
        "Name one of them: [infer3d] hdf5_key, or --key and --label-key of `flexseg derive "
        "volumes`.",
        str(path),
    )


def write_hdf5(path: Path, volume: Volume, key: str) -> None:
    """Write the voxels as one dataset, compressed, with the geometry as attributes."""
    with written_hdf5(path) as file:
        node = file.create_dataset(key, data=volume.array, compression="gzip", compression_opts=4)
        for name in _GEOMETRY:
            node.attrs[name] = getattr(volume, name)


def _volume(array: NDArray, path: Path, geometry: Mapping[str, object]) -> Volume:
    _check(array.dtype, array.shape, path)
    if array.dtype == bool:
        array = array.view(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    array = to_native(array)
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    array.flags.writeable = False
    affine = _affine(geometry)
    if affine is None:
        logger.warning("%s: its geometry is not known; voxels of 1 mm are assumed.", path)
        return Volume(array)
    return Volume(array).with_affine(affine)


def _affine(geometry: Mapping[str, object]) -> NDArray[np.float64] | None:
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
    npy.check_numbers(dtype, path)
    if shape is None or not 2 <= len(shape) <= 4 or 0 in shape:
        raise DataError(
            f"The array has the shape {list(shape or ())}.",
            "Save one volume per file: [z, y, x], or [z, y, x, channels].",
            str(path),
        )


register_format(
    "NPY",
    FileFormat(
        (".npy",),
        read=lambda path, part: read_npy(path),
        write=lambda path, volume, part: npy.write_npy(path, volume.array),
        geometry=False,
        only_volumes=False,
        read_back=False,
    ),
)
register_format(
    "HDF5",
    FileFormat(
        (".h5", ".hdf5"),
        read=lambda path, part: read_hdf5(path, part.key),
        write=lambda path, volume, part: write_hdf5(path, volume, part.key),
        read_back=False,
    ),
)
