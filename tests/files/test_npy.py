"""Arrays in NPY files: exact lengths, numbers only."""

from __future__ import annotations

import io
import itertools
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files import npy
from flexseg.files.images import read_image, read_mask
from flexseg.files.npy import map_npy, read_npy


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["u1", ">i2", "f4", "?"])
def test_arrays_come_as_they_were_saved(tmp_path: Path, kind: str, order: str) -> None:
    array = np.array(np.arange(12).reshape(3, 4), dtype=kind, order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", array)
    for read in (read_npy, map_npy):
        result = read(tmp_path / "a.npy")
        assert result.dtype == array.dtype
        np.testing.assert_array_equal(result, array)


def test_headers_are_read_again_where_pythons_parser_lost_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.arange(12).reshape(3, 4)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", mask=array)
    parse, calls = npy._HEADERS[1, 0], itertools.count()

    def parse_or_fail(file: IO[bytes]) -> tuple:
        result = parse(file)
        if next(calls) % 3:
            raise SystemError("AST constructor recursion depth mismatch (before=51, after=48)")
        return result

    monkeypatch.setitem(npy._HEADERS, (1, 0), parse_or_fail)
    for _ in range(3):
        np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), array)
        np.testing.assert_array_equal(map_npy(tmp_path / "a.npy"), array)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.npz").pixels, array)


def test_what_ends_too_early_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(10))
    content = (tmp_path / "a.npy").read_bytes()
    with pytest.raises(ValueError, match="after 72 of 80 bytes"):
        npy.read_array(io.BytesIO(content[:-8]), len(content), tmp_path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4), complex),
        np.array([["a", "b"]]),
        np.array([[b"a", b"b"]]),
        np.zeros((3, 4), "M8[D]"),
        np.zeros((3, 4), "m8[s]"),
        np.zeros((3, 4), "i4,f4"),
        np.zeros((3, 4), "V3"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_what_is_no_number_is_refused(tmp_path: Path, array: NDArray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", mask=array)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=r"holds values of type .*, not numbers") as caught:
            read_mask(tmp_path / name)
        assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"(30, 40), }", b"(30, 41), }", "holds at most 1,200 bytes"),
        (b"(30, 40), }", b"(30, 39), }", "more than its header says"),
        (b"(30, 40), }   ", b"(-30, -40), } ", "impossible size"),
        (b"(30, 40), }" + b" " * 12, b"(99999999999, 999999), }"[:23], "cannot be read"),
    ],
)
def test_headers_that_lie(tmp_path: Path, old: bytes, new: bytes, match: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros((30, 40), np.uint8))
    content = (tmp_path / "a.npy").read_bytes()
    assert old in content
    (tmp_path / "a.npy").write_bytes(content.replace(old, new))
    with pytest.raises(DataError, match=match):
        read_image(tmp_path / "a.npy")


def test_an_archive_without_an_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz")
    with pytest.raises(DataError, match="it contains no array"):
        read_mask(tmp_path / "a.npz")


def test_an_entry_of_an_archive_that_lies(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.zeros((30, 40), np.uint8))
    content = (tmp_path / "mask.npy").read_bytes().replace(b"(30, 40), }  ", b"(3000, 40), }")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("mask.npy", content)
    with pytest.raises(DataError, match="the file holds at most 1,200 bytes"):
        read_mask(tmp_path / "a.npz")


def test_a_flipped_bit_in_an_archive_is_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 9, (30, 40)).astype(np.uint8)
    np.savez_compressed(tmp_path / "a.npz", mask=noise)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for at in range(200, len(content) - 150, 7):
        damaged = content.copy()
        damaged[at] ^= 1
        (tmp_path / "b.npz").write_bytes(damaged)
        with pytest.raises(DataError):
            read_mask(tmp_path / "b.npz")
