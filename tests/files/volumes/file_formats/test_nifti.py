"""NIfTI against nibabel and ITK: types, byte orders, scales, forms; damage is noticed."""

from __future__ import annotations

import gzip
import logging
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from flexseg.errors import DataError
from flexseg.files.volumes.file_formats.nifti import read_nifti
from flexseg.files.volumes.read import read_labels, read_volume
from synthetic_volumes import ORDERS, make, ramp

nibabel = pytest.importorskip("nibabel")
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def save(
    path: Path, array: Any, affine: Any = None, kind: str = "Nifti1Image", **header: Any
) -> Any:
    """By nibabel, with header fields changed afterwards (arrays are [x, y, z, ...] there)."""
    image = getattr(nibabel, kind)(
        array, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine
    )
    for key, value in header.items():
        if key in ("qform", "sform"):
            getattr(image, f"set_{key}")(*value)
        else:
            image.header[key] = value
    nibabel.save(image, path)
    return nibabel.load(path)


@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
@pytest.mark.parametrize(
    "code", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8", ">i2", ">f4"]
)
def test_types_and_byte_orders(tmp_path: Path, code: str, kind: str) -> None:
    array = ramp((5, 4, 3)).astype(code)
    module = nibabel.nifti1 if kind == "Nifti1Image" else nibabel.nifti2
    header_class = getattr(module, kind.replace("Image", "Header"))
    header = header_class(endianness=">" if code[0] == ">" else "<")
    header.set_data_dtype(array.dtype)
    nibabel.save(getattr(nibabel, kind)(array, np.diag([2.0, 3, 4, 1]), header), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.array, array.T)
    assert volume.array.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_allclose(TO_LPS @ volume.affine, np.diag([2, 3, 4, 1]))


@pytest.mark.parametrize("order", ORDERS[::3])
def test_the_qform_alone_is_that_of_nibabel_and_itk(tmp_path: Path, order: str) -> None:
    affine = TO_LPS @ make().oriented(order).affine
    path = tmp_path / "a.nii.gz"
    save(path, ramp((5, 4, 3)), qform=(affine, 1), sform=(None, 0))
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, TO_LPS @ affine, atol=1e-5)
    image = sitk.ReadImage(str(path))
    np.testing.assert_allclose(volume.direction, image.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(volume.origin, image.GetOrigin(), atol=1e-5)


@pytest.mark.parametrize(
    ("codes", "wins"), [((1, 2), "s"), ((1, 4), "s"), ((2, 1), "s"), ((1, 0), "q")]
)
def test_forms_that_disagree(
    tmp_path: Path, codes: tuple[int, int], wins: str, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("flexseg").propagate = True
    forms = {"q": np.diag([2.0, 2, 2, 1]), "s": np.diag([-2.0, 2, 3, 1])}
    forms["q"][:3, 3] = 5
    path = tmp_path / "a.nii"
    loaded = save(path, ramp((5, 4, 3)), qform=(forms["q"], codes[0]), sform=(forms["s"], codes[1]))
    volume = read_volume(path)
    np.testing.assert_allclose(TO_LPS @ volume.affine, forms[wins])
    np.testing.assert_allclose(TO_LPS @ volume.affine, loaded.affine)
    assert ("disagree" in caplog.text) == (wins == "s")


def test_a_sheared_sform_is_kept(tmp_path: Path) -> None:
    affine = np.array([[2.0, 0, 0.5, 7], [0, 3, 0, 8], [0, 0, 4, 9], [0, 0, 0, 1]])
    save(tmp_path / "a.nii.gz", ramp((5, 4, 3)), affine)
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.sheared
    np.testing.assert_allclose(TO_LPS @ volume.affine, affine, atol=1e-6)


def test_no_form_at_all_is_as_itk_has_it(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    save(path, ramp((5, 4, 3)), qform=(None, 0), sform=(None, 0))
    volume, image = read_volume(path), sitk.ReadImage(str(path))
    assert volume.spacing == image.GetSpacing() == (2, 3, 4)
    assert volume.direction == image.GetDirection()
    assert volume.origin == image.GetOrigin()


@pytest.mark.parametrize(("units", "factor"), [("meter", 1000), ("mm", 1), ("micron", 0.001)])
def test_units(tmp_path: Path, units: str, factor: float) -> None:
    image = nibabel.Nifti1Image(ramp((5, 4, 3)), np.diag([2.0, 3, 4, 1]))
    image.header.set_xyzt_units(units)
    nibabel.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").spacing == pytest.approx(
        (2 * factor, 3 * factor, 4 * factor)
    )


@pytest.mark.parametrize(("code", "expected"), [("i2", np.float32), ("i4", np.float64)])
def test_scaled_values(tmp_path: Path, code: str, expected: type) -> None:
    path = tmp_path / "a.nii"
    save(path, ramp((5, 4, 3)).astype(code))
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 112, 0.5, -3)
    path.write_bytes(content)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.array, ramp((5, 4, 3)).T * 0.5 - 3)
    assert volume.array.dtype == expected


def test_channels_vectors_colours_and_planes(tmp_path: Path) -> None:
    four = ramp((5, 4, 3, 2))
    save(tmp_path / "time.nii.gz", four)
    expected = np.transpose(four, (2, 1, 0, 3))
    np.testing.assert_array_equal(read_volume(tmp_path / "time.nii.gz").array, expected)
    save(tmp_path / "vector.nii.gz", four[:, :, :, None])
    np.testing.assert_array_equal(read_volume(tmp_path / "vector.nii.gz").array, expected)
    save(tmp_path / "one.nii.gz", four[..., :1])
    assert read_volume(tmp_path / "one.nii.gz").array.shape == (3, 4, 5)
    save(tmp_path / "plane.nii.gz", ramp((5, 4)))
    np.testing.assert_array_equal(
        read_volume(tmp_path / "plane.nii.gz").array, ramp((5, 4)).T[None]
    )
    colors = np.zeros((5, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colors["G"] = ramp((5, 4, 3))
    save(tmp_path / "rgb.nii", colors)
    volume = read_volume(tmp_path / "rgb.nii")
    assert volume.array.shape == (3, 4, 5, 3)
    np.testing.assert_array_equal(volume.array[..., 1], ramp((5, 4, 3)).T)


def test_what_makes_no_volume(tmp_path: Path) -> None:
    save(tmp_path / "five.nii", ramp((2, 2, 2, 3, 2)))
    with pytest.raises(DataError, match=r"5 dimensions \(2 x 2 x 2 x 3 x 2\)"):
        read_volume(tmp_path / "five.nii")
    save(tmp_path / "complex.nii", ramp((5, 4, 3)).astype(np.complex64))
    with pytest.raises(DataError, match="type 32, not plain numbers"):
        read_volume(tmp_path / "complex.nii")


@pytest.mark.parametrize("change", [(40, "<8h", (3, 30000, 30000, 30000, 1, 1, 1, 1)),
                                    (40, "<8h", (3, 5, -4, 3, 1, 1, 1, 1)),
                                    (40, "<8h", (9, 5, 4, 3, 1, 1, 1, 1)),
                                    (0, "<i", (347,)), (344, "4s", (b"ni1\0",))])  # fmt: skip
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_wrong_headers(
    tmp_path: Path, change: tuple[int, str, tuple[Any, ...]], suffix: str
) -> None:
    save(tmp_path / "a.nii", ramp((5, 4, 3)))
    content = bytearray((tmp_path / "a.nii").read_bytes())
    at, code, values = change
    struct.pack_into(code, content, at, *values)
    path = tmp_path / f"b{suffix}"
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    with pytest.raises(DataError, match="cannot be read as a volume"):
        read_nifti(path)


@pytest.mark.parametrize("offset", [np.inf, -np.inf, np.nan])
def test_voxels_that_begin_nowhere(tmp_path: Path, offset: float) -> None:
    save(tmp_path / "a.nii", ramp((5, 4, 3)))
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<f", content, 108, offset)
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(DataError, match="the voxels begin at byte"):
        read_nifti(tmp_path / "a.nii")


def test_scaled_values_are_judged_by_their_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a.nii", ramp((50, 40, 30)).astype(np.uint8))
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<f", content, 112, 2.0)
    (tmp_path / "b.nii").write_bytes(content)
    monkeypatch.setenv("FLEXSEG_LARGEST_IMAGE_GB", str(200_000 / 2**30))
    read_nifti(tmp_path / "a.nii")
    with pytest.raises(DataError, match="takes 234 KiB; at most 195 KiB"):
        read_nifti(tmp_path / "b.nii")


def test_a_wrong_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    save(path, ramp((5, 4, 3)))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a volume"):
        read_volume(path)


def test_several_gzip_members_and_padding(tmp_path: Path) -> None:
    """As bgzip writes them, in blocks with an empty one at the end."""
    array = ramp((30, 40, 50), np.int32)
    save(tmp_path / "a.nii", array)
    content = (tmp_path / "a.nii").read_bytes()
    for size in (65000, 200):
        blocks = [content[i : i + size] for i in range(0, len(content), size)]
        packed = b"".join(map(gzip.compress, [*blocks, b""])) + b"\0" * 100
        (tmp_path / "b.nii.gz").write_bytes(packed)
        np.testing.assert_array_equal(read_volume(tmp_path / "b.nii.gz").array, array.T)


def test_compression_counts_not_the_name(tmp_path: Path) -> None:
    save(tmp_path / "a.nii", ramp((5, 4, 3)))
    (tmp_path / "b.nii.gz").write_bytes((tmp_path / "a.nii").read_bytes())
    (tmp_path / "c.nii").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    for name in ("b.nii.gz", "c.nii"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, ramp((5, 4, 3)).T)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_reading_takes_the_memory_of_the_voxels_once(tmp_path: Path, suffix: str) -> None:
    array = ramp((100, 170, 300))
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / f"a{suffix}")
    tracemalloc.start()
    volume = read_nifti(tmp_path / f"a{suffix}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(volume.array, array.T)
    assert peak < array.nbytes + 5 * 2**20  # a few chunks of the file


@pytest.mark.parametrize("name", ["t2s.nii.gz", "t2.nii.gz", "t1w.nii.gz", "t2_fake_lesion.nii.gz"])
def test_real_files_as_nibabel_and_itk_see_them(shared: Path, name: str) -> None:
    path = shared / "data" / "nifti" / name
    volume, loaded, image = read_volume(path), nibabel.load(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(volume.array, sitk.GetArrayViewFromImage(image))
    np.testing.assert_allclose(TO_LPS @ volume.affine, loaded.affine, atol=1e-6)
    np.testing.assert_allclose(volume.direction, image.GetDirection(), atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
@pytest.mark.parametrize("classes", [1, 2, 7, 100])
def test_labels_that_nibabel_scales_are_whole_numbers(
    tmp_path: Path, kind: type[np.integer], classes: int
) -> None:
    """From floats it makes a slope of its own: the class 1 of 2 is stored as 0.996."""
    labels = np.arange(5 * 6 * 7).reshape(5, 6, 7) % (classes + 1)
    image = nibabel.Nifti1Image(labels.astype(np.float64), np.eye(4))
    image.set_data_dtype(kind)
    nibabel.save(image, tmp_path / "a.nii.gz")
    stored = nibabel.load(tmp_path / "a.nii.gz").get_fdata()
    assert not (stored == labels).all()
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nii.gz").array, labels.T)


def test_scaled_fractions_are_no_labels(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.linspace(0, 1, 60).reshape(5, 4, 3), np.eye(4))
    image.set_data_dtype(np.uint8)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"not integers, .*its header scales what is stored"):
        read_labels(tmp_path / "a.nii")


@pytest.mark.parametrize("bad", [0.0, np.nan])
def test_an_unusable_form(tmp_path: Path, bad: float, caplog: pytest.LogCaptureFixture) -> None:
    """The other one counts, with a warning; alone it would be made up."""
    logging.getLogger("flexseg").propagate = True
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    for name, code in (("both", 1), ("alone", 0)):
        save(tmp_path / f"{name}.nii", ramp((5, 4, 3)), affine, qform=(affine, code))
        content = bytearray((tmp_path / f"{name}.nii").read_bytes())
        struct.pack_into("<h", content, 254, 1)
        struct.pack_into("<12f", content, 280, *[bad] * 12)
        (tmp_path / f"{name}.nii").write_bytes(content)
    np.testing.assert_allclose(TO_LPS @ read_volume(tmp_path / "both.nii").affine, affine)
    assert "its sform cannot be used; the qform is used" in caplog.text
    with pytest.raises(DataError, match="Its sform cannot be used"):
        read_volume(tmp_path / "alone.nii")
