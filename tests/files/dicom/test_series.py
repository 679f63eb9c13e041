"""DICOM series: grouping, order, places of slices, compression, frames, damage."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexseg.errors import DataError, ResourceError
from flexseg.files.dicom.recognition import is_series_folder
from flexseg.files.dicom.series import dicom_files, find_series
from flexseg.files.volumes.read import read_volume
from synthetic_volumes import enhanced, ramp, write_series


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logging.getLogger("flexseg").propagate = True
    caplog.set_level(logging.WARNING, "flexseg")
    return caplog


def pixel_data(path: Path) -> Any:
    return pytest.importorskip("pydicom").dcmread(path)


def test_order_is_by_position_and_values_are_rescaled(tmp_path: Path) -> None:
    array = ramp((6, 5, 4)) - 1024
    paths = write_series(tmp_path, array)
    assert sorted(paths) != paths
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == np.int16
    assert volume.spacing[2] == pytest.approx(1)
    assert dicom_files(tmp_path) == paths
    assert dicom_files(paths[2]) == [paths[2]]


@pytest.mark.parametrize(
    ("axes", "step", "order"),
    [
        ("1\\0\\0\\0\\1\\0", (0, 0, 2.5), "LPS"),
        ("0\\1\\0\\0\\0\\-1", (-2.5, 0, 0), "PIR"),  # sagittal
        ("1\\0\\0\\0\\0\\-1", (0, 2.5, 0), "LIP"),  # coronal
    ],
)
def test_directions_of_slices(
    tmp_path: Path, axes: str, step: tuple[float, ...], order: str
) -> None:
    array = ramp((4, 5, 6))
    start = np.array((7, -8, 9))
    for backwards in (False, True):
        places = [start + i * np.array(step) for i in range(4)]
        stored = array[::-1] if backwards else array
        folder = tmp_path / str(backwards)
        write_series(
            folder, stored, positions=places[::-1] if backwards else places, t0020_0037=axes
        )
        volume = read_volume(folder)
        np.testing.assert_array_equal(volume.array, array)
        assert volume.orientation == order
        np.testing.assert_allclose(volume.origin, start)
        np.testing.assert_allclose(volume.affine @ (0, 0, 3, 1), [*places[3], 1])


def test_a_tilted_gantry_is_told_and_kept(tmp_path: Path, warnings: Any) -> None:
    tilt = np.radians(20)
    axes = f"1\\0\\0\\0\\{np.cos(tilt):.8f}\\{np.sin(tilt):.8f}"
    write_series(
        tmp_path, ramp((5, 4, 4)), positions=[(0, 0, 3 * i) for i in range(5)], t0020_0037=axes
    )
    volume = read_volume(tmp_path)
    assert "tilted gantry" in warnings.text
    assert "20.0 degrees" in warnings.text
    assert volume.sheared
    np.testing.assert_array_equal(volume.array, ramp((5, 4, 4)))
    np.testing.assert_allclose(volume.affine @ (0, 0, 4, 1), (0, 0, 12, 1), atol=1e-5)
    # Between the slices are 3 mm along the table, at right angles to them less.
    assert volume.voxel_ml == pytest.approx(3 * np.cos(tilt) / 1000)


def test_digits_of_positions_are_no_tilt(tmp_path: Path, warnings: Any) -> None:
    places = [(0.001 * i, -0.001 * i, 3 * i) for i in range(5)]
    write_series(tmp_path, ramp((5, 4, 4)), positions=places)
    assert not read_volume(tmp_path).sheared
    assert warnings.text == ""


def test_missing_slices_are_told(tmp_path: Path, warnings: Any) -> None:
    write_series(tmp_path, ramp((4, 4, 4)), positions=[(0, 0, z) for z in (0, 1, 2, 4)])
    assert read_volume(tmp_path).spacing[2] == pytest.approx(1)
    assert "1 to 2 mm apart" in warnings.text


def test_several_volumes_in_one_series(tmp_path: Path) -> None:
    write_series(tmp_path, ramp((4, 4, 4)), positions=[(0, 0, z) for z in (0, 1, 0, 1)])
    with pytest.raises(DataError, match="2 slices of the DICOM series lie at the same position"):
        read_volume(tmp_path)


def test_slices_around_an_axis_or_beside_each_other(tmp_path: Path) -> None:
    write_series(tmp_path, ramp((4, 4, 4)), positions=[(9 * (i % 2), 0, i) for i in range(4)])
    with pytest.raises(DataError, match="are not stacked along one axis"):
        read_volume(tmp_path)


def test_copies_of_a_file_are_left_out(tmp_path: Path, warnings: Any) -> None:
    paths = write_series(tmp_path, ramp((3, 4, 4)))
    shutil.copy(paths[1], tmp_path / "copy of 1.dcm")
    assert read_volume(tmp_path).shape == (3, 4, 4)
    assert "is the same image as" in warnings.text


def test_copies_under_another_identity(tmp_path: Path, warnings: Any) -> None:
    """Of slices at one place, equal ones are copies, others are of several volumes."""
    array = ramp((4, 5, 6))
    places = [(0, 0, z) for z in range(4)]
    write_series(tmp_path / "series", array, positions=places)
    write_series(tmp_path / "more", array[1:3], positions=places[1:3])
    for i, path in enumerate(sorted((tmp_path / "more").iterdir())):
        tags = pixel_data(path)
        tags.SOPInstanceUID = f"1.2.3.{i}"
        tags.save_as(tmp_path / "series" / f"copy{i}.dcm")
    volume = read_volume(tmp_path / "series")
    np.testing.assert_array_equal(volume.array, array)
    assert warnings.text.count("is a copy of") == 2
    assert len(dicom_files(tmp_path / "series")) == 4


def test_of_several_series_the_largest_or_the_chosen_one(tmp_path: Path, warnings: Any) -> None:
    write_series(tmp_path, ramp((5, 4, 4)), "portal")
    scout = write_series(tmp_path, ramp((2, 4, 4)), "scout")
    assert read_volume(tmp_path).shape == (5, 4, 4)
    assert "2 DICOM series" in warnings.text
    assert "scout (2 files" in warnings.text
    assert read_volume(tmp_path, series="SCOUT").shape == (2, 4, 4)
    assert dicom_files(tmp_path, "scout") == scout
    warnings.clear()
    dicom_files(tmp_path)
    assert not warnings.text  # told when they were read
    with pytest.raises(DataError, match="None of the DICOM series matches"):
        read_volume(tmp_path, series="arterial")
    write_series(tmp_path, ramp((5, 4, 4)), "venous")
    with pytest.raises(DataError, match=r"3 DICOM series.*portal.*venous") as error:
        read_volume(tmp_path)
    assert "--series" in error.value.fix


@pytest.mark.parametrize("jitter", [1e-5, 2e-3])
def test_directions_are_compared_not_rounded(tmp_path: Path, jitter: float) -> None:
    """Around 0.005 two digits would make two series of one."""
    for i in range(6):
        tilt = 0.005 + jitter * (-1) ** i
        along = f"{np.sqrt(1 - tilt**2):.7f}"
        write_series(
            tmp_path / str(i), ramp((1, 4, 4)), positions=[(0, 0, 2.0 * i)],
            t0020_0037=f"{along}\\{tilt:.7f}\\0\\{-tilt:.7f}\\{along}\\0", t0008_0018=f"9.{i}",
        )  # fmt: skip
        (path,) = (tmp_path / str(i)).iterdir()
        path.rename(tmp_path / f"{i}.dcm")
    assert [len(series.headers) for series in find_series(tmp_path)] == [6]


def test_a_localizer_under_the_same_uid_is_a_volume_of_its_own(tmp_path: Path) -> None:
    write_series(tmp_path / "a", ramp((5, 4, 4)))
    write_series(tmp_path / "b", ramp((1, 4, 4)), t0020_0037="1\\0\\0\\0\\0\\-1", t0008_0018="9.9")
    shutil.copy(next((tmp_path / "b").iterdir()), tmp_path / "a" / "scout.dcm")
    assert read_volume(tmp_path / "a").shape == (5, 4, 4)
    assert read_volume(tmp_path / "a", series="coronal").shape == (1, 4, 4)


def test_no_series(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no volume")
    assert not is_series_folder(tmp_path)
    assert find_series(tmp_path) == []
    with pytest.raises(DataError, match="no DICOM series"):
        read_volume(tmp_path)


@pytest.mark.parametrize("share", [0, 0.1, 0.9])
def test_damaged_slices(tmp_path: Path, share: float) -> None:
    paths = write_series(tmp_path, np.random.default_rng(0).integers(0, 999, (3, 64, 64)))
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: int(len(content) * share)])
    for path in (tmp_path, paths[1]):
        with pytest.raises(DataError) as error:
            read_volume(path)
        assert error.value.where == str(paths[1])


def test_fractions_in_later_slices_are_kept(tmp_path: Path) -> None:
    """PET: every slice has a slope of its own, and that of an empty slice is 1."""
    paths = write_series(tmp_path, ramp((3, 4, 4)) - 1024)
    for path, slope in zip(paths, ("1", "0.25", "2.5"), strict=True):
        dataset = pixel_data(path)
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, "0"
        dataset.save_as(path)
    stored = ramp((3, 4, 4)).astype(np.float32)
    expected = stored * np.array([1, 0.25, 2.5], np.float32)[:, None, None]
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, expected)


def test_values_beyond_16_bits(tmp_path: Path) -> None:
    array = ramp((2, 4, 4))
    paths = write_series(tmp_path, array - 1024)
    dataset = pixel_data(paths[1])
    dataset.RescaleSlope, dataset.RescaleIntercept = "5000", "0"
    dataset.save_as(paths[1])
    volume = read_volume(tmp_path)
    assert volume.array.dtype == np.int32
    np.testing.assert_array_equal(volume.array[1], array[1].astype(int) * 5000)


@pytest.mark.parametrize(
    "syntax", ["RLELossless", "JPEGLSLossless", "DeflatedExplicitVRLittleEndian"]
)
def test_compressed_series(tmp_path: Path, syntax: str) -> None:
    uid = pytest.importorskip("pydicom.uid")
    array = ramp((3, 16, 16))
    for path in write_series(tmp_path, array):
        dataset = pixel_data(path)
        if syntax.startswith("Deflated"):
            dataset.file_meta.TransferSyntaxUID = getattr(uid, syntax)
        else:
            dataset.compress(getattr(uid, syntax), generate_instance_uid=False)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


def test_frames_are_ordered_by_position_and_rescaled(tmp_path: Path) -> None:
    array = ramp((4, 5, 6))
    order = [2, 0, 3, 1]
    enhanced(tmp_path / "a.dcm", array[order], [(1.0, 2.0, 3.0 * i) for i in order])
    volume = read_volume(tmp_path / "a.dcm")
    np.testing.assert_array_equal(volume.array, array * 2 - 10)
    assert volume.spacing == (0.75, 0.5, 3.0)
    assert volume.origin == (1, 2, 0)
    assert read_volume(tmp_path).shape == (4, 5, 6)
    assert dicom_files(tmp_path) == [tmp_path / "a.dcm"]


def test_frames_without_places_and_without_pydicom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enhanced(tmp_path / "a.dcm", ramp((2, 5, 6)), [])
    with pytest.raises(DataError, match="2 frames, but does not say where"):
        read_volume(tmp_path / "a.dcm")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(ResourceError) as error:
        read_volume(tmp_path / "a.dcm")
    assert "flexseg[dicom]" in error.value.fix


def test_real_series(shared: Path) -> None:
    folder = shared / "data" / "dicom"
    volume = read_volume(folder / "hippo_study1")
    assert volume.shape == (32, 51, 35)
    assert volume.orientation == "LPS"
    names = [p.name for p in dicom_files(folder / "hippo_study1")]
    assert sorted(names, key=lambda n: int(n[:-4])) in (names, names[::-1])
    frames = read_volume(folder / "dcmqi_segmentations" / "23x38x3" / "multiframe" / "mf.dcm")
    series = read_volume(folder / "dcmqi_segmentations" / "23x38x3" / "image")
    np.testing.assert_array_equal(frames.array, series.array)
    np.testing.assert_allclose(frames.affine, series.affine, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("dcmqi_segmentations/liver.dcm", "segmentation object"),
        ("dcmqi_segmentations/sparse-labelmap-ppv5.dcm", "segmentation object"),
        ("highdicom_test_files/seg_image_sm_control_labelmap.dcm", "segmentation object"),
        ("highdicom_test_files/sr_document.dcm", "contains no image"),
        ("highdicom_test_files/sm_image.dcm", "25 frames"),
    ],
)
def test_dicom_files_that_are_no_volume(shared: Path, name: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        read_volume(shared / "data" / "dicom" / name)


@pytest.mark.parametrize("folder", [True, False])
def test_a_series_that_is_too_large_is_refused_before_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    write_series(tmp_path, ramp((6, 50, 40)))
    monkeypatch.setenv("FLEXSEG_LARGEST_IMAGE_GB", str((24_000 if folder else 4000) / 2**30))
    path = tmp_path if folder else sorted(tmp_path.iterdir())[0]
    read_volume(path)
    monkeypatch.setenv("FLEXSEG_LARGEST_IMAGE_GB", str((23_999 if folder else 3999) / 2**30))
    with pytest.raises(DataError, match="50 x 40 x 1 and takes") as caught:
        read_volume(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(("bits", "signed"), [(16, True), (16, False), (12, False), (12, True)])
def test_white_as_the_lowest_value_is_turned_round(tmp_path: Path, bits: int, signed: bool) -> None:
    """In single files, in series and in files of several frames alike: before the slope."""
    pydicom = pytest.importorskip("pydicom")
    stored = ramp((2, 5, 6)) - (10 if signed else 0)
    ends = -1 if signed else 2**bits - 1
    places = [(0.0, 0.0, 3.0 * i) for i in range(2)]
    enhanced(tmp_path / "frames" / "a.dcm", stored, places)
    write_series(tmp_path / "series", stored, positions=places)
    for path in [tmp_path / "frames" / "a.dcm", *(tmp_path / "series").iterdir()]:
        tags = pydicom.dcmread(path)
        tags.PhotometricInterpretation = "MONOCHROME1"
        tags.BitsStored, tags.HighBit, tags.PixelRepresentation = bits, bits - 1, int(signed)
        if "series" in path.parts:
            tags.RescaleSlope, tags.RescaleIntercept = 2, -10
            index = round(float(tags.ImagePositionPatient[2]) / 3)
            tags.PixelData = stored[index].astype(np.int16).tobytes()
        tags.save_as(path)
    expected = 2 * (ends - stored.astype(int)) - 10
    for path in (tmp_path / "frames" / "a.dcm", tmp_path / "series"):
        np.testing.assert_array_equal(read_volume(path).array, expected)


def test_values_of_a_lookup_table_are_refused(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    for path in write_series(tmp_path, ramp((2, 5, 6))):
        tags, table = pydicom.dcmread(path), pydicom.Dataset()
        table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [4, 0, 16], "HU", [4, 3, 2, 1]
        table["LUTDescriptor"].VR = "US"
        table["LUTData"].VR = "US"
        del tags.RescaleSlope, tags.RescaleIntercept
        tags.ModalityLUTSequence = [table]
        tags.save_as(path)
    with pytest.raises(DataError, match="Modality LUT"):
        read_volume(tmp_path)
