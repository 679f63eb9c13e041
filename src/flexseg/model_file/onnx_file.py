"""The network of a model package in ONNX, in a file beside it that needs no Keras.

The file says by a hash which network it is of: another one under the same name does not get it.
ONNX is a message of protocol buffers, of which only the pairs of texts at its top are read here
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, ModelProto.metadata_props;
https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from flexseg.model_file.hdf5_weights import read_metadata, read_weights

SUFFIX = ".onnx"
DIGEST = "flexseg_network"
_PROPERTIES, _KEY, _VALUE = 14, 1, 2  # numbers of fields
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # types of the wire
_LARGEST_PROPERTY = 2**20


def onnx_file(package: Path) -> Path:
    """Where the ONNX file of a package lies."""
    return package.with_suffix(SUFFIX)


def network_digest(package: Path) -> str | None:
    """A hash of what a package computes, [model] and weights, whatever its classes are called
    (sha256, hex); None for weights of the original systems, which do not say.

    Raises
    ------
    DataError : the file cannot be read.
    """
    metadata = read_metadata(package)
    if metadata is None:
        return None
    digest = hashlib.sha256(json.dumps(metadata.get("model"), sort_keys=True).encode())
    for name, array in read_weights(package):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def is_of(file: Path, package: Path) -> bool:
    """Whether an ONNX file is the network of a package.

    Raises
    ------
    DataError : the package cannot be read.
    """
    known = read_properties(file).get(DIGEST)
    return known is not None and known == network_digest(package)


def add_properties(file: Path, properties: Mapping[str, str]) -> None:
    """Add pairs of texts to an ONNX file.

    Messages of protocol buffers that follow each other are one.
    """
    with file.open("ab") as opened:
        for key, value in properties.items():
            pair = b"".join(
                _field(number, text.encode()) for number, text in ((_KEY, key), (_VALUE, value))
            )
            opened.write(_field(_PROPERTIES, pair))


def read_properties(file: Path) -> dict[str, str]:
    """The pairs of texts of an ONNX file; empty if there is none, or it is of another kind."""
    try:
        with file.open("rb") as opened:
            pairs = [dict(_fields(BytesIO(text))) for _, text in _fields(opened, _PROPERTIES)]
            return {pair[_KEY].decode(): pair[_VALUE].decode() for pair in pairs}
    except (OSError, ValueError, KeyError):
        return {}


def _fields(file: BinaryIO, wanted: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Number and content of the fields of bytes of a message.

    Parameters
    ----------
    wanted : the number of those that are read; None: all.

    Raises
    ------
    ValueError : it is no message.
    """
    while (tag := _varint(file, at_end=True)) is not None:
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _varint(file)
        elif kind == _BYTES:
            length = _varint(file) or 0
            if wanted not in (None, number):
                file.seek(length, 1)
            elif length > _LARGEST_PROPERTY or len(content := file.read(length)) < length:
                raise ValueError("a text is too long")
            else:
                yield number, content
        elif kind in (_FIXED32, _FIXED64):
            file.seek(4 if kind == _FIXED32 else 8, 1)
        else:
            raise ValueError("an unknown type")


def _varint(file: BinaryIO, *, at_end: bool = False) -> int | None:
    """A number; None at the end of the file, where that may be."""
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            if at_end and not shift:
                return None
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("not a number")


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
