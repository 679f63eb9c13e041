"""Volumes out: what is read back, by us and by others, lies where it was."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from flexseg.errors import ConfigError, ResourceError
from flexseg.files.volumes.read import read_labels, read_volume, write_volume
from flexseg.files.volumes.volume import Volume
from synthetic_volumes import LEFT_HANDED, OBLIQUE, ORDERS, TILTED, make, ramp

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
# NIfTI stores single precision, MHA and NRRD as many digits as doubles have.
MM = 1e-4


def assert_same(back: Volume, volume: Volume) -> None:
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.array.dtype == volume.array.dtype
    np.testing.assert_allclose(back.affine, volume.affine, atol=MM)
    np.testing.assert_allclose(back.spacing, volume.spacing, rtol=1e-5)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".h5"])
@pytest.mark.parametrize("order", ORDERS)
def test_all_orders_oblique_and_anisotropic(tmp_path: Path, order: str, suffix: str) -> None:
    volume = make(OBLIQUE).oriented(order)
    write_volume(tmp_path / f"a{suffix}", volume)
    assert_same(read_volume(tmp_path / f"a{suffix}"), volume)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
@pytest.mark.parametrize("direction", [TILTED, LEFT_HANDED])
def test_sheared_and_left_handed(tmp_path: Path, direction: tuple[float, ...], suffix: str) -> None:
    for order in ("LPS", "SRP"):
        volume = make(direction).oriented(order)
        write_volume(tmp_path / f"a{suffix}", volume)
        assert_same(read_volume(tmp_path / f"a{suffix}"), volume)


@settings(max_examples=40)
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    spacing=st.tuples(*[st.floats(0.05, 20)] * 3),
    origin=st.tuples(*[st.floats(-999, 999)] * 3),
    size=st.tuples(*[st.integers(1, 4)] * 3),
    suffix=st.sampled_from([".nii", ".nii.gz", ".mha", ".nrrd"]),
    shear=st.floats(-0.4, 0.4),
)
def test_any_geometry(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    size: tuple[int, int, int],
    suffix: str,
    shear: float,
) -> None:
    axes = np.reshape(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix(), (3, 3))
    if abs(shear) > 0.01:
        axes[:, 2] = (axes[:, 2] + shear * axes[:, 1]) / np.hypot(1, shear)
    volume = Volume(ramp(size), spacing, origin, tuple(axes.ravel()))
    path = tmp_path_factory.mktemp("any") / f"a{suffix}"
    write_volume(path, volume)
    back = read_volume(path)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=2e-4)


@pytest.mark.parametrize("direction", [OBLIQUE, TILTED, LEFT_HANDED])
def test_nibabel_sees_the_same_places(tmp_path: Path, direction: tuple[float, ...]) -> None:
    nibabel = pytest.importorskip("nibabel")
    for order in ORDERS[::5]:
        volume = make(direction).oriented(order)
        write_volume(tmp_path / "a.nii.gz", volume)
        image = nibabel.load(tmp_path / "a.nii.gz")
        to_lps = np.diag([-1, -1, 1, 1])
        np.testing.assert_array_equal(np.asarray(image.dataobj).T, volume.array)
        np.testing.assert_allclose(to_lps @ image.get_sform(), volume.affine, atol=MM)
        if volume.sheared:
            assert image.header["qform_code"] == 0
        else:
            np.testing.assert_allclose(to_lps @ image.get_qform(), volume.affine, atol=MM)
            assert image.header["qform_code"] > 0
        assert image.header["sform_code"] > 0
        assert image.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, ".npy", ".h5"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_types_and_channels(tmp_path: Path, suffix: str, dtype: type) -> None:
    for shape in ((3, 4, 5), (3, 4, 5, 2)):
        volume = Volume(ramp(shape, dtype))
        write_volume(tmp_path / f"a{suffix}", volume)
        assert_same(read_volume(tmp_path / f"a{suffix}"), volume)


def test_views_and_types_that_itk_lacks(tmp_path: Path) -> None:
    for array in (ramp() > 7, ramp().astype(np.float16), ramp()[::-1, :, ::2]):
        write_volume(tmp_path / "a.nii.gz", Volume(array))
        np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array, array)


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, ".npy", ".h5"])
def test_nothing_is_left_beside_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"größe 腫瘍{suffix}"
    for _ in range(2):
        write_volume(path, make())
        np.testing.assert_array_equal(read_labels(path).array, ramp())
    names = {p.name for p in path.parent.iterdir()}
    assert path.name in names
    assert len(names) == (2 if suffix in (".mhd", ".nhdr") else 1)


@pytest.mark.parametrize("stem", ["a.nii", "a.NII.GZ", "a.hdr", "a%d", "a:b", "a=3ab", "a\nb"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mhd", ".nhdr"])
def test_names_that_libraries_and_headers_take_for_more(
    tmp_path: Path, stem: str, suffix: str
) -> None:
    if os.name == "nt" and (":" in stem or not stem.isprintable()):
        pytest.skip("no name on Windows")
    write_volume(tmp_path / f"{stem}{suffix}", make())
    np.testing.assert_array_equal(read_volume(tmp_path / f"{stem}{suffix}").array, ramp())


@pytest.mark.parametrize("suffix", [".nii.gz", ".mhd"])
def test_only_files_that_may_be_written_to_are_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Windows flushes no others."""
    fcntl = pytest.importorskip("fcntl")
    flushed: list[int] = []

    def fsync(file: int) -> None:
        flushed.append(file)
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(os, "fsync", fsync)
    volume = make(OBLIQUE)
    write_volume(tmp_path / f"a{suffix}", volume)
    assert_same(read_volume(tmp_path / f"a{suffix}"), volume)
    assert flushed


def test_failure_keeps_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii.gz"
    write_volume(path, make())
    before = path.read_bytes()

    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(ResourceError, match="disk full"):
        write_volume(path, make())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


@pytest.mark.parametrize("name", ["a.dcm", "a.png", "a", ".nii"])
def test_other_suffixes(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="Volumes cannot be written as"):
        write_volume(tmp_path / name, make())


def test_hdf5_under_a_key(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.h5", make(TILTED), key="raw/labels")
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["raw/labels"][()], ramp())
    assert_same(read_volume(tmp_path / "a.h5", key="raw/labels"), make(TILTED))


@pytest.mark.parametrize("name", ["t2s.nii.gz", "t2.nii.gz", "t1w.nii.gz", "t2_fake_lesion.nii.gz"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
def test_a_threshold_overlays_its_image(
    shared: Path, tmp_path: Path, name: str, suffix: str
) -> None:
    """0.5 x 0.5 x 7.5 mm, PSR and others: the labels lie on the image, for ITK and nibabel."""
    volume = read_volume(shared / "data" / "nifti" / name)
    labels = volume.with_array((volume.array > np.median(volume.array)).astype(np.uint8))
    write_volume(tmp_path / f"a{suffix}", labels)
    assert_same(read_labels(tmp_path / f"a{suffix}"), labels)
    image, back = (
        sitk.ReadImage(str(p)) for p in (shared / "data" / "nifti" / name, tmp_path / f"a{suffix}")
    )
    threshold = float(np.median(volume.array))
    expected = sitk.Cast(image > threshold, sitk.sitkUInt8)
    np.testing.assert_array_equal(
        sitk.GetArrayViewFromImage(back), sitk.GetArrayFromImage(expected)
    )
    np.testing.assert_allclose(back.GetOrigin(), image.GetOrigin(), atol=MM)
    np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-6)
    if suffix == ".nii.gz":
        nibabel = pytest.importorskip("nibabel")
        affines = [
            nibabel.load(p).affine
            for p in (shared / "data" / "nifti" / name, tmp_path / "a.nii.gz")
        ]
        np.testing.assert_allclose(affines[1], affines[0], atol=MM)
