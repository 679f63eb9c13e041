"""Arrays of numbers in NPY files: the header judged first, no objects, text or dates."""

from __future__ import annotations

from math import prod
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import IO, Literal, NamedTuple

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
# NumPy has Python parse headers, whose parser may fail where several threads use it at a time
# (https://github.com/python/cpython/issues/106905): ours take turns, and those of other libraries
# are a matter of luck.
_PARSER = Lock()
_ATTEMPTS = 5
# So many bytes are read at a time.
_PART = 2**24


class Header(NamedTuple):
    """What an NPY file says of its values."""

    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype

    @property
    def order(self) -> Literal["F", "C"]:
        """Of the values in the file, as NumPy names it."""
        return "F" if self.columns_first else "C"


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
        return read_array(file, path.stat().st_size, path)


def read_array(file: IO[bytes], length: int, path: Path) -> NDArray:
    """The array at the beginning of an open file, or of an entry of an archive.

    Parameters
    ----------
    length : bytes that the file has in all.
    path : to be named in errors.

    Raises
    ------
    ValueError, DataError : see `read_npy`.
    """
    header = _checked_header(file, length, path)
    values = np.empty(prod(header.shape), header.dtype)
    held, begin = values.view(np.uint8), 0
    while part := file.read(min(_PART, values.nbytes - begin)):
        held[begin : begin + len(part)] = np.frombuffer(part, np.uint8)
        begin += len(part)
    if begin != values.nbytes:
        raise ValueError(f"it ends after {begin} of {values.nbytes} bytes of values")
    return values.reshape(header.shape, order=header.order)


def map_npy(path: Path) -> NDArray:
    """The array of an NPY file, mapped: its values are read when they are asked for.

    Raises
    ------
    ValueError, OSError, DataError : no NPY file, or no numbers.
    """
    with path.open("rb") as file:
        header = _header(file)
        check_numbers(header.dtype, path)
        return np.memmap(path, header.dtype, "r", file.tell(), header.shape, header.order)


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


def _checked_header(file: IO[bytes], length: int, path: Path) -> Header:
    header = _header(file)
    if header.dtype.kind == "O":
        raise ValueError(f"it holds {_OBJECTS}")
    check_numbers(header.dtype, path)
    held = length - file.tell()
    if header.shape and 0 not in header.shape:
        check_size(header.shape, header.dtype, path, most=held)
    if prod(header.shape) * header.dtype.itemsize != held:
        raise ValueError(f"it holds {held} bytes of values, more than its header says")
    return header


def _header(file: IO[bytes]) -> Header:
    """Read the header at the beginning of an open file."""
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its format version is {version}")
    begin = file.tell()
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with _PARSER:
                return Header(*_HEADERS[version](file))
        except ValueError as error:  # NumPy quotes what it has parsed, down to objects of Python
            raise ValueError("its header does not give shape and type") from error
        except SystemError:
            if attempt == _ATTEMPTS:
                raise
            file.seek(begin)
    raise AssertionError


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
