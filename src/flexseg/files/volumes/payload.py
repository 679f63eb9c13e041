"""The voxels of a volume file: decompressed with every check, filled in to the last byte."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.limits import DEFLATE_RATIO, TooLargeError, check_size

GZIP = b"\x1f\x8b"
# How many bits of window `zlib` may use, and that a header of zlib or of gzip comes first.
_ANY_HEADER = 47
_CHUNK = 1 << 20


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """What goes wrong as a damaged volume is parsed and decompressed, as an error about the file.

    Raises
    ------
    DataError : with the reason.
    """
    try:
        yield
    except DataError:
        raise
    except MemoryError:
        raise TooLargeError(
            "There is not enough memory for this volume.",
            "Close other programs. If the volume should be small, its header is damaged: export "
            "it again.",
            str(path),
        ) from None
    except Exception as error:  # damaged bytes fail in ways that nobody lists
        reason = str(error).strip() or type(error).__name__
        empty = path.is_file() and path.stat().st_size == 0
        raise DataError(
            f"It cannot be read as a volume ({'the file is empty' if empty else reason}).",
            "It is damaged, or not in the format that its name says: copy or export it again.",
            str(path),
        ) from None


def check_volume_size(
    shape: Sequence[int], dtype: np.dtype | type | str, path: Path, *, most: int | None = None
) -> None:
    """`check_size` of a volume."""
    check_size(shape, dtype, path, most=most, instead="cut the volume into smaller ones")


def stored(path: Path, start: int = 0) -> Iterator[bytes]:
    """The bytes of a file from `start` on, in parts."""
    with path.open("rb") as file:
        file.seek(start)
        while data := file.read(_CHUNK):
            yield data


def inflated(content: Iterator[bytes]) -> Iterator[bytes]:
    """What zlib or gzip compressed, in parts of at most 1 MiB, to the end for its checksum.

    A gzip file may have several members, as bgzip writes them.

    Raises
    ------
    EOFError, zlib.error : it is cut off, or damaged.
    """
    decoder = zlib.decompressobj(_ANY_HEADER)
    for data in content:
        rest = data
        while rest:
            if decoder.eof:
                if not rest.startswith(GZIP):  # padding behind the last member
                    return
                decoder = zlib.decompressobj(_ANY_HEADER)
            yield decoder.decompress(rest, _CHUNK)
            rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    if not decoder.eof:
        raise EOFError("it is cut off")


def fill(target: NDArray, content: Iterator[bytes], *, exact: bool = False) -> None:
    """Copy bytes into a contiguous array, and read to their end for the checksum.

    Parameters
    ----------
    exact : more bytes than the array takes are an error.

    Raises
    ------
    EOFError : there are fewer bytes, or more.
    """
    place = target.reshape(-1).view(np.uint8)
    position = 0
    for data in content:
        part = np.frombuffer(data, np.uint8)[: max(0, len(place) - position)]
        place[position : position + len(part)] = part
        position += len(data)
        if exact and position > len(place):
            raise EOFError(
                f"it has more than the {len(place)} bytes of voxels that its header says"
            )
    if position < len(place):
        raise EOFError(f"it is cut off after {position} of {len(place)} bytes of voxels")


def skipped(content: Iterator[bytes], count: int) -> Iterator[bytes]:
    """What follows the first `count` bytes."""
    for data in content:
        yield data[count:]
        count = max(0, count - len(data))


def read_voxels(
    header: Path,
    data: Path,
    shape: Sequence[int],
    dtype: np.dtype,
    *,
    start: int,
    compressed: bool,
    skip: int = 0,
) -> NDArray:
    """An array in this machine's byte order, of exactly the bytes that a file holds for it.

    Parameters
    ----------
    header : the file to name in errors.
    data : the file with the voxels.
    start : where they begin in it; -1: they are its end.
    skip : decompressed bytes to leave out.

    Raises
    ------
    DataError, ValueError : see `check_volume_size`.
    EOFError, zlib.error : fewer or more bytes, or damaged ones.
    """
    size = data.stat().st_size
    if start < 0:
        start = max(0, size - prod(shape) * dtype.itemsize)
    room = max(0, size - start)
    check_volume_size(shape, dtype, header, most=room * DEFLATE_RATIO if compressed else room)
    array = np.empty(tuple(shape), dtype)
    content = stored(data, start)
    fill(array, skipped(inflated(content) if compressed else content, skip), exact=True)
    return to_native(array)


def read_text(
    header: Path, data: Path, shape: Sequence[int], dtype: np.dtype, *, start: int
) -> NDArray:
    """An array of numbers that are written as text.

    Raises
    ------
    DataError, ValueError : see `check_volume_size`.
    ValueError, OverflowError : fewer or more of them, no numbers, or ones that do not fit.
    """
    size = data.stat().st_size - start
    check_volume_size(shape, dtype, header, most=max(0, size) * dtype.itemsize)
    tokens = b"".join(stored(data, start)).decode("ascii").replace(",", " ").split()
    if len(tokens) != prod(shape):
        raise ValueError(f"it has {len(tokens)} numbers, but its header says {prod(shape)}")
    kind = float if dtype.kind == "f" else int
    return np.array([kind(token) for token in tokens], dtype.newbyteorder("=")).reshape(shape)


def to_native(array: NDArray) -> NDArray:
    """The array in this machine's byte order; its memory is changed, not copied."""
    if array.dtype.isnative:
        return array
    return array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
