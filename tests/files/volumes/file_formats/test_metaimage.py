"""MetaImage: what ITK reads, and what it would not have noticed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from flexseg.errors import DataError
from flexseg.files.volumes.file_formats.metaimage import read_metaimage
from flexseg.files.volumes.volume import Volume
from synthetic_volumes import ramp

MATRIX = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


def _write(path: Path, compressed: bool = False, kind: str = "i2") -> bytes:
    image = sitk.GetImageFromArray(ramp().astype(kind))
    image.SetSpacing((0.5, 0.75, 3.0))
    image.SetOrigin((10, -20, 30))
    image.SetDirection(MATRIX)
    sitk.WriteImage(image, str(path), useCompression=compressed)
    return path.read_bytes()


def _same(path: Path) -> Volume:
    """What is read, after a comparison with what ITK reads."""
    volume, expected = read_metaimage(path), Volume.from_image(sitk.ReadImage(str(path)))
    assert volume.array.dtype == expected.array.dtype
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_allclose(volume.affine, expected.affine)
    assert not volume.array.flags.writeable
    return volume


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_all_types(tmp_path: Path, kind: str, compressed: bool) -> None:
    _write(tmp_path / "a.mha", compressed, kind)
    assert _same(tmp_path / "a.mha").array.dtype == kind


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Offset", "Position"),
        ("Offset", "Origin"),
        ("TransformMatrix", "Rotation"),
        ("TransformMatrix", "Orientation"),
        ("ElementSpacing", "ElementSize"),
        ("MSB = False", "MSB = True"),
        ("BinaryDataByteOrderMSB = False", "ElementByteOrderMSB = True"),
        ("ElementSpacing = 0.5", "ElementSpacing = -0.5"),
        ("ObjectType = Image\n", ""),
        ("ObjectType = Image\n", "ObjectType = Image\nComment = a = b\nModality = MET_MOD_CT\n"),
        ("\n", "\r\n"),
        (" = ", ": "),
        (" = ", "="),
        ("MET_SHORT", "MET_USHORT"),
        (r"(TransformMatrix|Offset|ElementSpacing)[^\n]*\n", ""),
    ],
)
def test_headers_as_itk_has_them(tmp_path: Path, old: str, new: str) -> None:
    content = _write(tmp_path / "a.mha")
    end = content.index(b"LOCAL") + 6
    head = re.sub(old, new, content[:end].decode())
    assert head.encode() != content[:end]
    (tmp_path / "a.mha").write_bytes(head.encode() + content[end:])
    _same(tmp_path / "a.mha")


def test_numbers_as_text(tmp_path: Path) -> None:
    content = _write(tmp_path / "a.mha")
    head = content[: content.index(b"LOCAL") + 6].replace(
        b"BinaryData = True", b"BinaryData = False"
    )
    (tmp_path / "a.mha").write_bytes(head + (" ".join(map(str, ramp().ravel())) + "\n").encode())
    np.testing.assert_array_equal(_same(tmp_path / "a.mha").array, ramp())


@pytest.mark.parametrize("header_size", [0, 7, -1])
def test_voxels_in_a_file_beside(tmp_path: Path, header_size: int) -> None:
    content = _write(tmp_path / "a.mhd")
    voxels = tmp_path / "a.raw"
    voxels.write_bytes(b"x" * (7 if header_size else 0) + voxels.read_bytes())
    line = f"HeaderSize = {header_size}\nElementDataFile".encode()
    (tmp_path / "a.mhd").write_bytes(content.replace(b"ElementDataFile", line))
    np.testing.assert_array_equal(_same(tmp_path / "a.mhd").array, ramp())


def test_a_flipped_bit_of_compressed_voxels_is_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 1000, (9, 20, 20)).astype(np.int16)
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=True)
    content = path.read_bytes()
    for at in range(content.index(b"LOCAL") + 8, len(content), 97):
        damaged = bytearray(content)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as a volume"):
            read_metaimage(path)


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("NDims", "-3", "do not agree"),
        ("NDims", "5000", "do not agree"),
        ("NDims", "9" * 5000, "integer"),
        ("DimSize", " ".join(["1"] * 5000), "do not agree"),
        ("DimSize", "5 4 -3", "impossible size"),
        ("DimSize", "5 4 0", "impossible size"),
        ("DimSize", "5 4 2", "more than the"),
        ("DimSize", "5 4 4", "it is cut off"),
        ("DimSize", "50000 40000 30000", "it is cut off"),
        ("DimSize", "5 4 1e1", "integer"),
        ("ElementSpacing", "nan 1 1", "3 numbers"),
        ("ElementSpacing", "1 1", "3 numbers"),
        ("Offset", "inf 0 0", "3 numbers"),
        ("TransformMatrix", "1 0 0 1 0 0 0 0 1", "do not span a volume"),
        ("ElementType", "MET_STRING", "not plain numbers"),
        ("CompressedData", "True", "Error -3"),
        ("ElementDataFile", "a%03d.raw 1 3 1", "in several files"),
        ("ElementDataFile", "%s%s%s%n", "in several files"),
        ("ElementDataFile", "LIST", "in several files"),
        ("ElementDataFile", "/etc/passwd", "not in the same folder"),
        ("ElementDataFile", "../other.raw", "not in the same folder"),
        ("ElementDataFile", r"..\other.raw", "not in the same folder"),
        ("ElementDataFile", "..", "not in the same folder"),
        ("ElementDataFile", "", "not in the same folder"),
        ("ElementDataFile", "missing.raw", "is missing"),
        ("ElementDataFile", "pipe", "is missing"),
    ],
)
def test_hostile_headers(tmp_path: Path, field: str, value: str, match: str) -> None:
    content = _write(tmp_path / "a.mha")
    (tmp_path / "other.raw").write_bytes(ramp().tobytes())
    os.mkfifo(tmp_path / "pipe")
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "a.mha"
    path.write_bytes(
        re.sub(rf"{field} = [^\n]*".encode(), lambda _: f"{field} = {value}".encode(), content)
    )
    with pytest.raises(DataError, match=match) as caught:
        read_metaimage(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("content", [b"", b"\n" * 100, b"a" * 10**6, b"NDims = 3\n", b"= =\n" * 9])
def test_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a volume"):
        read_metaimage(tmp_path / "a.mha")


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("um", 0.001), ("cm", 10), ("?", 1)])
def test_units_and_scales(tmp_path: Path, unit: str, factor: float) -> None:
    content = _write(tmp_path / "a.mha")
    expected = read_metaimage(tmp_path / "a.mha")
    for line, known in (
        (f"DistanceUnits = {unit}", True),
        ("ElementToIntensityFunctionSlope = 1", True),
        ("ElementToIntensityFunctionSlope = 2", False),
        ("ElementToIntensityFunctionOffset = -1024", False),
    ):
        changed = content.replace(b"ElementDataFile", f"{line}\nElementDataFile".encode())
        (tmp_path / "b.mha").write_bytes(changed)
        if not known:
            with pytest.raises(DataError, match="scales the stored values"):
                read_metaimage(tmp_path / "b.mha")
            continue
        mm = factor if "Distance" in line else 1
        volume = read_metaimage(tmp_path / "b.mha")
        np.testing.assert_allclose(volume.affine[:3], expected.affine[:3] * mm)
