"""The arrays of MATLAB files of all versions; how large they are is judged before they are read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from flexseg.errors import DataError
from flexseg.files.hdf5 import open_hdf5
from flexseg.files.limits import check_size, largest_image

# Of version 5 to 7: the file's header, that of each element, and the kind of compressed ones.
_HEADER, _TAG, _COMPRESSED = 128, 8, 15
_PART = 1 << 20
_ORDERS = {b"IM": "<", b"MI": ">"}
# Kinds of elements: numbers, matrices, text. SciPy crashes on others.
_MATRIX, _KINDS = 14, {*range(1, 8), 9, *range(12, 19)}
_DEEPEST = 50
# What a value of a MATLAB type takes in memory; of others a byte at least.
_TYPES = {"double": "f8", "single": "f4", "int64": "i8", "uint64": "u8", "int32": "i4",
          "uint32": "u4", "int16": "i2", "uint16": "u2", "cell": "u8", "struct": "u8"}  # fmt: skip
_WITHOUT_VALUES = ("sparse", "function", "opaque", "object")


def arrays_of_mat(path: Path) -> Iterator[tuple[str, NDArray]]:
    """Name and numbers of each array, fields of structures as "structure/field".

    Raises
    ------
    Exception : what decoders raise on damaged files.
    DataError : it holds more than is read at once.
    """
    if h5py.is_hdf5(path):  # version 7.3, whose arrays are stored the other way round
        with open_hdf5(path) as file:
            found: list[tuple[str, NDArray]] = []

            def visit(name: str, node: object) -> None:
                if isinstance(node, h5py.Dataset) and node.dtype.kind in "biuf" and node.ndim:
                    found.append((name, node[()].T))

            file.visititems(visit)
        yield from found
        return
    _check_sizes(path)
    for name, value in loadmat(path, squeeze_me=True, struct_as_record=False).items():
        if not name.startswith("__"):
            yield from _flattened(name, value)


def _flattened(name: str, value: object) -> Iterator[tuple[str, NDArray]]:
    fields = getattr(value, "_fieldnames", None)
    if fields is not None:
        for field in fields:
            yield from _flattened(f"{name}/{field}", getattr(value, field))
    else:
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            yield name, array


def _check_sizes(path: Path) -> None:
    """Refuse a file whose arrays its bytes or the memory cannot hold."""
    held, most = 0, largest_image()
    for size in _decoded_sizes(path):
        held += size
        if held > most:
            raise DataError(
                f"Its arrays take more than {most / 2**30:.3g} GiB.",
                "Save each image in a file of its own. If the images are small, the file is "
                "damaged.",
                str(path),
            )
    for content, order in _elements(path):
        _check_elements(content, order)
    for _, shape, kind in whosmat(path):
        if 0 not in shape and kind not in _WITHOUT_VALUES:
            check_size(shape, "u1", path, most=held)
            check_size(shape, _TYPES.get(kind, "u1"), path)


def _elements(path: Path) -> Iterator[tuple[memoryview, str]]:
    """The elements of a file without their compression, and the order of their bytes."""
    content = memoryview(path.read_bytes())
    order = _ORDERS.get(bytes(content[126:_HEADER]))
    at = _HEADER
    while order is not None and at + _TAG <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        end = at + _TAG + size
        if kind == _COMPRESSED:
            yield memoryview(zlib.decompress(content[at + _TAG : end])), order
        else:
            yield content[at:end], order
        at = end


def _check_elements(content: memoryview, order: str, depth: int = 0) -> None:
    """Refuse elements of kinds that do not exist, and those that are longer than what holds them.

    Raises
    ------
    ValueError : there are some, or they lie too deep.
    """
    at = 0
    while at + _TAG <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        small = kind >> 16
        size, kind = (small, kind & 0xFFFF) if small else (size, kind)
        room = 4 if small else len(content) - at - _TAG
        if kind not in _KINDS or size > room or depth > _DEEPEST:
            raise ValueError("its elements are damaged")
        if kind == _MATRIX and not small:
            _check_elements(content[at + _TAG : at + _TAG + size], order, depth + 1)
        at += _TAG if small else _TAG + -(-size // 8) * 8


def _decoded_sizes(path: Path) -> Iterator[int]:
    """Bytes of the elements of a file without their compression, part by part."""
    with path.open("rb") as file:
        order = _ORDERS.get(file.read(_HEADER)[126:])
        if order is None:  # version 4, which has neither this header nor compression
            yield path.stat().st_size
            return
        while len(tag := file.read(_TAG)) == _TAG:
            kind, size = struct.unpack(f"{order}II", tag)
            if kind != _COMPRESSED:
                yield min(size, path.stat().st_size)
                file.seek(size, 1)
                continue
            stream = zlib.decompressobj()
            while size > 0 and (part := file.read(min(size, _PART))):
                size -= len(part)
                while part:
                    yield len(stream.decompress(part, _PART))
                    part = stream.unconsumed_tail
