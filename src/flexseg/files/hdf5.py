"""HDF5: files that lie, or on which the library would never end, are found before they are read.

Heap collections: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, III.E.
"""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flexseg.errors import DataError
from flexseg.files.limits import DEFLATE_RATIO, check_size

if TYPE_CHECKING:
    import h5py

_SIGNATURE = b"GCOL\x01\0\0\0"
_OBJECT = struct.Struct("<H6xQ")


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An `h5py.File`, open for reading.

    Raises
    ------
    ValueError : its texts lie in a heap on which the library would not end.
    OSError : it is no HDF5 file, or damaged.
    """
    import h5py

    _check_heaps(path)
    with h5py.File(path, "r") as file:
        yield file


@contextmanager
def written_hdf5(path: Path) -> Iterator[h5py.File]:
    """A new `h5py.File` in memory, which is written to `path` at the end of the block.

    The library itself ends the process when a disk is full.

    Raises
    ------
    OSError : it cannot be written.
    """
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        yield file
    path.write_bytes(content.getbuffer())


def check_stored(node: h5py.Dataset, path: Path) -> None:
    """Judge a dataset's size by the bytes that the file holds for it.

    Raises
    ------
    DataError : the file only points to its values; larger than is allowed.
    ValueError : the file holds fewer bytes.
    """
    if node.external or node.is_virtual:
        raise elsewhere(path)
    if node.shape is None or 0 in node.shape:
        return
    if node.dtype.kind == "O":
        _check_text(node, path)
        return
    held = node.id.get_storage_size()
    most = held * DEFLATE_RATIO if node.chunks is not None else held
    check_size(node.shape or (1,), node.dtype, path, most=most, instead="cut it into smaller ones")


def _check_text(node: h5py.Dataset, path: Path) -> None:
    """Compare the length of a text with that of the file, as the library believes it at once."""
    place = node.id.get_offset()
    if node.shape != () or place is None:
        return
    with path.open("rb") as file:
        file.seek(place)
        if int.from_bytes(file.read(4), "little") > path.stat().st_size:
            raise ValueError("a text is longer than the file")


def elsewhere(path: Path) -> DataError:
    """The error about a file that points into another one."""
    return DataError(
        "Its values are in another file, to which the HDF5 file only points.",
        "Copy them into one file: `file[key] = source[key][()]` with h5py.",
        str(path),
    )


def _check_heaps(path: Path) -> None:
    """Walk through all heaps of texts as the library does, which an entry of no bytes holds up."""
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_SIGNATURE)
        while start >= 0:
            _check_heap(content, start)
            start = content.find(_SIGNATURE, start + 8)


def _check_heap(content: mmap.mmap, start: int) -> None:
    (size,) = struct.unpack_from("<Q", content, start + 8) if start + 16 <= len(content) else (0,)
    at, end = start + 16, min(start + size, len(content))
    while at + _OBJECT.size <= end:
        index, length = _OBJECT.unpack_from(content, at)
        step = length if index == 0 else _OBJECT.size + (length + 7) // 8 * 8
        if step == 0 or at + step > start + size:
            raise ValueError("its heap of texts is damaged")
        at += step
