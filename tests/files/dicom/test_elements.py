"""The lengths of DICOM elements."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from flexseg.errors import DataError
from flexseg.files.dicom.elements import check_lengths
from flexseg.files.volumes.read import read_volume
from synthetic_volumes import enhanced, ramp, write_series

pydicom = pytest.importorskip("pydicom")


def _explicit(tag: tuple[int, int], kind: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    long = kind in (b"OB", b"SQ", b"UN", b"OW")
    head = struct.pack("<2xI" if long else "<H", size)
    return struct.pack("<HH", *tag) + kind + head + value


def _file(path: Path, syntax: bytes, *elements: bytes) -> Path:
    meta = _explicit((2, 16), b"UI", syntax + b"\0" * (len(syntax) % 2))
    path.write_bytes(bytes(128) + b"DICM" + meta + b"".join(elements))
    return path


LITTLE, IMPLICIT = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2"
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
NAME = _explicit((16, 16), b"PN", b"A^B ")
LONG_NAME = _explicit((16, 16), b"PN", b"A^B ", 60_000)
PIXELS = (
    struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF) + b"\xfe\xff\x00\xe0" + b"\xff" * 9
)


@pytest.mark.parametrize(
    ("syntax", "elements", "fits"),
    [
        (LITTLE, [NAME], True),
        (LITTLE, [LONG_NAME], False),
        (LITTLE, [_explicit((9, 16), b"OB", b"ab", 2**32 - 2)], False),
        (LITTLE, [_explicit((9, 16), b"SQ", ITEM + NAME, 2**32 - 1)], True),
        (LITTLE, [_explicit((9, 16), b"SQ", ITEM + LONG_NAME, 2**32 - 1)], False),
        (LITTLE, [_explicit((9, 16), b"SQ", ITEM + LONG_NAME)], False),
        (LITTLE, [NAME, PIXELS], True),
        (LITTLE, [NAME, _explicit((0x7FE0, 16), b"OW", b"ab", 2**31)], False),
        (IMPLICIT, [struct.pack("<HHI", 16, 16, 4) + b"A^B "], True),
        (IMPLICIT, [struct.pack("<HHI", 16, 16, 2**31) + b"A^B "], False),
        (IMPLICIT, [struct.pack("<HHI", 9, 16, 2**32 - 1), ITEM, struct.pack("<HHI", 16, 16, 9)],
         False),
        (b"1.2.840.10008.1.2.2", [struct.pack(">HH2sH", 16, 16, b"PN", 4) + b"A^B "], True),
    ],
)  # fmt: skip
def test_lengths_that_a_file_has_not(
    tmp_path: Path, syntax: bytes, elements: list[bytes], fits: bool
) -> None:
    path = _file(tmp_path / "a.dcm", syntax, *elements)
    if fits:
        check_lengths(path)
    else:
        with pytest.raises(ValueError, match="bytes, more than the file has"):
            check_lengths(path)


def test_half_an_element_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cut off"):
        check_lengths(_file(tmp_path / "a.dcm", LITTLE, NAME, b"\x28\0\x10\0"))


def test_a_file_that_does_not_tell_its_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + NAME)
    with pytest.raises(ValueError, match="no meta information"):
        check_lengths(tmp_path / "a.dcm")


def test_files_that_are_whole_pass(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "series", ramp()):
        check_lengths(path)
    enhanced(tmp_path / "frames.dcm", ramp(), [(0, 0, i) for i in range(3)])
    check_lengths(tmp_path / "frames.dcm")
    (tmp_path / "none.dcm").write_bytes(b"A" * 500)
    check_lengths(tmp_path / "none.dcm")


def test_a_length_that_lies_costs_no_memory(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, ramp((1, 40, 50)))
    content = path.read_bytes()
    at = content.index(struct.pack("<HHI", 0x7FE0, 0x0010, 4000)) + 4
    path.write_bytes(content[:at] + struct.pack("<I", 2**31) + content[at + 4 :])
    with pytest.raises(DataError, match="an element of its header claims 2147483648 bytes"):
        read_volume(path)


def test_compressed_files_pass(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, ramp((1, 40, 50)))
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array.astype(int)
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path)
    check_lengths(path)
    np.testing.assert_array_equal(read_volume(path).array[0], pixels - 1024)
