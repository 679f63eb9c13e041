"""NRRD: what ITK reads, and what it would not have noticed."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from flexseg.errors import DataError
from flexseg.files.volumes.file_formats.nrrd import read_nrrd
from flexseg.files.volumes.volume import Volume
from synthetic_volumes import ramp

RAW = np.arange(24, dtype="<i2").tobytes()
BASE = ("type: short", "dimension: 3", "sizes: 4 3 2", "endian: little", "encoding: raw")
FOUR = ("type: short", "dimension: 4", "sizes: 2 3 2 2", "endian: little", "encoding: raw")
AXES = "space directions: (1,0,0) (0,2,0) (0.5,0,3)"
ORIGIN = "space origin: (5,6,7)"


def _write(path: Path, *lines: str, data: bytes = RAW, end: str = "\n", magic: str = "4") -> Path:
    head = end.join([f"NRRD000{magic}", *lines, "", ""])
    path.write_bytes(head.encode() + data)
    return path


def _same(path: Path) -> Volume:
    """What is read, after a comparison with what ITK reads."""
    volume, expected = read_nrrd(path), Volume.from_image(sitk.ReadImage(str(path)))
    assert volume.array.dtype == expected.array.dtype
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-12)
    assert not volume.array.flags.writeable
    return volume


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_all_types(tmp_path: Path, kind: str, compressed: bool) -> None:
    image = sitk.GetImageFromArray(ramp().astype(kind))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"), useCompression=compressed)
    assert _same(tmp_path / "a.nrrd").array.dtype == kind


@pytest.mark.parametrize(
    "lines",
    [
        BASE,
        (*BASE, "spacings: 1 2 3"),
        (*BASE, "spacings: 1 nan 3"),
        (*BASE, "spacings: 1 -2 3"),
        (*BASE, "spacings: 1 2 3", "axis mins: 5 6 7"),
        (*BASE, "spacings: 1 2 3", "axis mins: 5 6 7", "centers: node node node"),
        (*BASE, "space: left-posterior-superior", AXES, ORIGIN),
        (*BASE, "space: right-anterior-superior", AXES, ORIGIN),
        (*BASE, "space: RAS", AXES, ORIGIN),
        (*BASE, "space: left-anterior-superior", AXES, ORIGIN),
        (*BASE, "space: scanner-xyz", AXES, ORIGIN),
        (*BASE, "space dimension: 3", AXES),
        (*BASE, "# comment", "key:=value: x", "content: y", "old min: 0"),
        (*BASE, "byte skip: -1"),
        ("type: int16", "dimension: 2", "sizes: 4 6", "endian: little", "encoding: raw"),
        ("type: int16", "dimension: 2", "sizes: 4 6", "endian: big", "encoding: raw",
         "space dimension: 2", "space directions: (0,1) (2,0)", "space origin: (4,5)"),
        FOUR,
        (*FOUR, "space: LPS", "kinds: domain domain domain list", f"{AXES} none", ORIGIN),
        (*FOUR, "space: RAS", "kinds: list domain domain domain",
         AXES.replace(": ", ": none "), ORIGIN),
        (*FOUR, "kinds: vector domain domain domain"),
        (*FOUR, "kinds: space space space time"),
        (*FOUR, "space: right-anterior-superior-time",
         "space directions: (1,0,0,0) (0,2,0,0) (0,0,3,0) (0,0,0,2)", "space origin: (5,6,7,8)"),
    ],
)  # fmt: skip
def test_headers_as_itk_has_them(tmp_path: Path, lines: tuple[str, ...]) -> None:
    if "time" in " ".join(lines):
        # ITK leaves the axes of a space with time as they are, in RAS.
        volume = read_nrrd(_write(tmp_path / "a.nrrd", *lines))
        assert volume.channels == 2
        return
    _same(_write(tmp_path / "a.nrrd", *lines))


@pytest.mark.parametrize(
    ("lines", "data"),
    [
        (("encoding: raw", "byte skip: 3"), b"xyz" + RAW),
        (("encoding: raw", "line skip: 2"), b"xy\nz\n" + RAW),
        (("encoding: gzip",), gzip.compress(RAW, mtime=0)),
        (("encoding: gz",), gzip.compress(RAW, mtime=0)),
        (("encoding: ascii",), b" ".join(b"%d" % i for i in range(24))),
        (("encoding: text", "byteskip: 0"), b"\n".join(b"%d" % i for i in range(24))),
    ],
)
def test_encodings(tmp_path: Path, lines: tuple[str, ...], data: bytes) -> None:
    for end in ("\n", "\r\n"):
        path = _write(tmp_path / "a.nrrd", *BASE[:-1], *lines, data=data, end=end)
        assert read_nrrd(path).array.tobytes() == RAW
    path = _write(tmp_path / "a.nhdr", *BASE[:-1], *lines, "data file: a.dat", data=b"")
    (tmp_path / "a.dat").write_bytes(data)
    assert read_nrrd(path).array.tobytes() == RAW


def test_a_flipped_bit_of_compressed_voxels_is_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 1000, (9, 20, 20)).astype(np.int16)
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=True)
    content = path.read_bytes()
    for at in range(content.index(b"\x1f\x8b") + 12, len(content), 97):
        damaged = bytearray(content)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as a volume"):
            read_nrrd(path)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("dimension: 3", "dimension: -3", "do not agree"),
        ("dimension: 3", f"dimension: {'9' * 5000}", "integer"),
        ("sizes: 4 3 2", "sizes: " + "1 " * 5000, "do not agree"),
        ("sizes: 4 3 2", "sizes: 4 -3 2", "impossible size"),
        ("sizes: 4 3 2", "sizes: 4 3 9", "it is cut off"),
        ("sizes: 4 3 2", "sizes: 4 3 1", "more than the"),
        ("type: short", "type: block", "not plain numbers"),
        ("endian: little", "endian: middle", "byte order"),
        ("encoding: raw", "encoding: bzip2", "encoded as 'bzip2'"),
        ("encoding: raw", "encoding: gzip", "Error -3"),
        ("encoding: raw", "encoding: raw\nkinds: list list domain", "2 axes that are not spatial"),
        ("encoding: raw", "encoding: raw\nspacings: 0 1 1", "do not span a volume"),
        ("encoding: raw", "encoding: raw\nspacings: 1 1", "3 numbers"),
        ("encoding: raw", "encoding: raw\nspace directions: (1,0) (0,1) (1,1)", "do not fit"),
        (
            "encoding: raw",
            "encoding: raw\nspace directions: (1,0,0) (1,0,0) (0,0,1)",
            "do not span",
        ),
        ("encoding: raw", "encoding: raw\nbyte skip: -2", "the byte skip -2"),
        ("encoding: raw", "encoding: raw\nbyteskip: -99999999999", "the byte skip -99999999999"),
        ("encoding: raw", "encoding: gzip\nbyte skip: -2", "the byte skip -2"),
        ("encoding: raw", "encoding: raw\nline skip: -1", "the line skip -1"),
        ("encoding: raw", "encoding: raw\nno field", "has the line 'no field'"),
        ("encoding: raw", "encoding: raw\ndata file: /etc/passwd", "not in the same folder"),
        ("encoding: raw", "encoding: raw\ndatafile: ../a.raw", "not in the same folder"),
        ("encoding: raw", "encoding: raw\ndata file: a%03d.raw 1 9 1", "in several files"),
        ("encoding: raw", "encoding: raw\ndata file: LIST\na.raw", "has the line 'a.raw'"),
        ("encoding: raw", "encoding: raw\ndata file: none.raw", "is missing"),
    ],
)
def test_hostile_headers(tmp_path: Path, old: str, new: str, match: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "a.raw").write_bytes(RAW)
    path = _write(inside / "a.nrrd", *"\n".join(BASE).replace(old, new).split("\n"))
    with pytest.raises(DataError, match=match) as caught:
        read_nrrd(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("content", [b"", b"NRRD0004", b"NRRD0009\n", b"NRRD0004\n" + b"a" * 10**6])
def test_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.nrrd").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a volume"):
        read_nrrd(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    ("lines", "factor"),
    [
        ((AXES, 'space units: "mm" "mm" "mm"'), 1),
        ((AXES, 'space units: "um" "um" "um"'), 0.001),
        (("spacings: 1 2 3", 'units: "cm" "cm" "cm"'), 10),
        (("spacings: 1 2 3", 'units: "" "" ""'), 1),
    ],
)
def test_units_of_length(tmp_path: Path, lines: tuple[str, ...], factor: float) -> None:
    volume = read_nrrd(_write(tmp_path / "a.nrrd", *BASE, *lines))
    assert volume.spacing[0] == pytest.approx(factor)
    for wrong in ('space units: "mm" "mm" "um"', 'space units: "s" "s" "s"'):
        with pytest.raises(DataError, match="unit"):
            read_nrrd(_write(tmp_path / "b.nrrd", *BASE, AXES, wrong))
