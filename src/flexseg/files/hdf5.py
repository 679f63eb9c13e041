"""HDF5 files on which the library would never end: found before they are opened.

Heap collections: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, III.E.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SIGNATURE = b"GCOL\x01\0\0\0"
_OBJECT = struct.Struct("<H6xQ")


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
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
