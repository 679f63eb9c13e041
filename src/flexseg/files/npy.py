"""Arrays of numbers in NPY files: the header judged first, no objects, text or dates."""

from __future__ import annotations

from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.limits import check_size

_HEADERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}
_OBJECTS = "Python objects, which are never loaded"
_OTHERS = {b"\x80": _OBJECTS, b"PK": "an NPZ archive"}


def read_npy(path: Path) -> NDArray:
    """The array of an NPY file.

    Raises
    ------
    ValueError : no NPY file, or another length than its header says.
    DataError : no numbers, or larger than is allowed, see `check_size`.
    """
    with path.open("rb") as file:
        for magic, what in _OTHERS.items():
            if file.read(len(magic)) == magic:
                raise ValueError(f"it holds {what}")
            file.seek(0)
        check_header(file, path.stat().st_size, path)
    return np.load(path, allow_pickle=False)


def map_npy(path: Path) -> NDArray:
    """The array of an NPY file, mapped: its values are read when they are asked for.

    Raises
    ------
    ValueError, OSError, DataError : no NPY file, or no numbers.
    """
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    check_numbers(mapped.dtype, path)
    return mapped


def write_npy(path: Path, array: NDArray) -> None:
    """Write an array. (`np.save` does not notice when the end of a small one meets a full disk.)

    Raises
    ------
    OSError : it cannot be written; it names the file.
    """
    try:
        with path.open("wb") as file:
            npy.write_array(SimpleNamespace(write=file.write), array, allow_pickle=False)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def check_header(file: IO[bytes], length: int, path: Path) -> None:
    """Judge the header of an array at the beginning of an open file.

    Parameters
    ----------
    length : bytes that the file has in all.
    path : to be named in errors.

    Raises
    ------
    ValueError, DataError : see `read_npy`.
    """
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format version is {version}")
    try:
        shape, _, dtype = _HEADERS[version](file)
    except ValueError as error:  # NumPy quotes what it has parsed, down to objects of Python
        raise ValueError("its header does not give shape and type") from error
    if dtype.kind == "O":
        raise ValueError(f"it holds {_OBJECTS}")
    check_numbers(dtype, path)
    held = length - file.tell()
    if shape and 0 not in shape:
        check_size(shape, dtype, path, most=held)
    if prod(shape) * dtype.itemsize != held:
        raise ValueError(f"it holds {held} bytes of values, more than its header says")


def check_numbers(dtype: np.dtype, path: Path) -> None:
    """Refuse arrays of objects, text, dates, complex numbers and the like.

    Raises
    ------
    DataError : they hold no plain numbers.
    """
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise DataError(
            f"The array holds values of type {dtype}, not numbers.",
            "Save it as integers or floats.",
            str(path),
        )
