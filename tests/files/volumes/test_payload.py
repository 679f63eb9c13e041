"""Voxels from files: exact lengths, checksums, text."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from flexseg.errors import DataError
from flexseg.files.volumes.payload import (
    explain_damage,
    fill,
    inflated,
    read_text,
    read_voxels,
    skipped,
    stored,
)

NOISE = np.random.default_rng(0).integers(0, 1000, (5, 20, 20)).astype("<i2")
BYTES = NOISE.tobytes()


def _read(path: Path, content: bytes, compressed: bool, dtype: str = "<i2", **other: int) -> bytes:
    path.write_bytes(content)
    start = other.pop("start", 0)
    array = read_voxels(
        path, path, NOISE.shape, np.dtype(dtype), start=start, compressed=compressed, **other
    )
    assert array.dtype.isnative
    return array.astype("<i2").tobytes()


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
def test_compressed_bytes_with_either_header(tmp_path: Path, compress: object) -> None:
    assert callable(compress)
    assert _read(tmp_path / "a", compress(BYTES), True) == BYTES
    two = compress(BYTES[:1000]) + compress(BYTES[1000:])
    if compress is gzip.compress:
        assert _read(tmp_path / "a", two + bytes(512), True) == BYTES


def test_places_in_a_file(tmp_path: Path) -> None:
    assert _read(tmp_path / "a", b"head" + BYTES, False, start=4) == BYTES
    assert _read(tmp_path / "a", b"whatever" + BYTES, False, start=-1) == BYTES
    assert _read(tmp_path / "a", zlib.compress(b"xyz" + BYTES), True, skip=3) == BYTES
    assert _read(tmp_path / "a", NOISE.byteswap().tobytes(), False, ">i2") == BYTES


@pytest.mark.parametrize(
    ("content", "compressed", "match"),
    [
        (BYTES[:-1], False, "the file holds at most 3,999 bytes"),
        (BYTES + b"x", False, "more than the 4000 bytes"),
        (zlib.compress(BYTES[:-1]), True, "cut off after 3999 of 4000 bytes"),
        (zlib.compress(BYTES + b"x"), True, "more than the 4000 bytes"),
        (zlib.compress(BYTES)[:-1], True, "it is cut off"),
        (b"x\x9c" + BYTES, True, "Error -3"),
        (bz2.compress(BYTES), True, "Error -3"),
        (b"", True, "the file is empty"),
    ],
)
def test_other_lengths_and_damage(
    tmp_path: Path, content: bytes, compressed: bool, match: str
) -> None:
    with pytest.raises(DataError, match=match), explain_damage(tmp_path / "a"):
        _read(tmp_path / "a", content, compressed)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    content = zlib.compress(BYTES)
    for at in range(0, len(content), 5):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        try:
            assert _read(tmp_path / "a", bytes(damaged), True) == BYTES  # bits without a meaning
        except (zlib.error, EOFError):
            continue


def test_a_small_file_that_becomes_large_is_not_inflated_to_its_end(tmp_path: Path) -> None:
    bomb = zlib.compressobj()
    content = b"".join([*(bomb.compress(bytes(2**20)) for _ in range(64)), bomb.flush()])
    (tmp_path / "a").write_bytes(content)
    parts: list[int] = []

    def counted() -> object:
        for part in inflated(stored(tmp_path / "a")):
            parts.append(len(part))
            yield part

    with pytest.raises(EOFError):
        fill(np.empty(100, np.uint8), counted(), exact=True)  # type: ignore[arg-type]
    assert sum(parts) <= 2**20


def test_skipping_more_than_a_part() -> None:
    assert b"".join(skipped(iter([b"ab", b"cd", b"ef"]), 3)) == b"def"


def test_numbers_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"head 1 2\n3,4 -5 6")
    array = read_text(path, path, (2, 3), np.dtype("i2"), start=5)
    assert array.tolist() == [[1, 2, 3], [4, -5, 6]]
    for text in (b"1 2 3 4 5", b"1 2 3 4 5 6 7", b"1 2 3 4 5 x", b"1 2 3 4 5 70000", b"1" * 9000):
        path.write_bytes(text)
        with pytest.raises((ValueError, OverflowError)):
            read_text(path, path, (2, 3), np.dtype("i2"), start=0)
