"""Reading of volumes and labels: formats, DICOM series, channels, grids."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from flexseg.data.volumes import (
    GeometryRule,
    is_series_folder,
    label_array,
    match_label,
    nonfinite_to_lowest,
    orientation,
    read_volume,
    volume_array,
    volume_stem,
)
from flexseg.errors import DataError


def ramp(shape: tuple[int, ...] = (3, 4, 5), dtype: type = np.int16) -> NDArray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write_series(folder: Path, array: NDArray, name: str, zs: list[float] | None = None) -> None:
    """A DICOM series of the slices of `array` [z, y, x] at the positions `zs`."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    uid = "1.2.826.0.1." + "".join(str(ord(c)) for c in name)
    for i, pixels in enumerate(array):
        image = sitk.GetImageFromArray(pixels[None].astype(np.int16))
        z = i if zs is None else zs[i]
        tags = {
            "0008|0060": "CT", "0008|103e": name, "0020|000e": uid, "0020|000d": "1.2.3",
            "0008|0018": f"{uid}.{i + 1}", "0020|0013": str(i + 1), "0020|0032": f"0\\0\\{z}",
            "0020|0037": "1\\0\\0\\0\\1\\0", "0028|1052": "-1024", "0028|1053": "1",
        }  # fmt: skip
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{name}{len(array) - i:03d}.dcm"))
        writer.Execute(image)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr"])
def test_formats_keep_values_and_geometry(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(ramp())
    image.SetSpacing((0.5, 0.75, 3.0))
    image.SetOrigin((10, -20, 30))
    path = tmp_path / f"größe 腫瘍.p1{suffix}"
    sitk.WriteImage(image, str(path))
    read = read_volume(path)
    np.testing.assert_array_equal(volume_array(read), ramp())
    np.testing.assert_allclose(read.GetSpacing(), (0.5, 0.75, 3.0))
    np.testing.assert_allclose(read.GetOrigin(), (10, -20, 30))
    assert volume_stem(path) == "größe 腫瘍.p1"


def test_arrays_outlive_their_image(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(ramp((40, 60, 60))), str(path))
    arrays = [volume_array(read_volume(path)) for _ in range(4)]
    for array in arrays:
        np.testing.assert_array_equal(array, ramp((40, 60, 60)))


def test_a_flat_file_is_a_volume_of_one_slice(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(ramp((4, 5))), str(tmp_path / "a.mha"))
    assert volume_array(read_volume(tmp_path / "a.mha")).shape == (1, 4, 5)


def test_channels_of_4d_files_are_chosen(tmp_path: Path) -> None:
    volumes = [sitk.GetImageFromArray(ramp() + 100 * i) for i in range(2)]
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.JoinSeries(volumes), str(path))
    np.testing.assert_array_equal(volume_array(read_volume(path, channel=1)), ramp() + 100)
    with pytest.raises(DataError, match="2 channels") as error:
        read_volume(path)
    assert "--channel" in error.value.fix
    with pytest.raises(DataError, match="Channel 2 does not exist"):
        read_volume(path, channel=2)


def test_components_of_vector_images_are_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    both = np.stack([ramp(), ramp() + 7], axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(both, isVector=True), str(path))
    np.testing.assert_array_equal(volume_array(read_volume(path, channel=1)), ramp() + 7)
    with pytest.raises(DataError, match="2 channels"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("share", [0, 0.003, 0.1, 0.99])
def test_damaged_files_are_data_errors(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path))
    np.testing.assert_array_equal(volume_array(read_volume(path)), noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="cannot be read as a volume") as error:
        read_volume(path)
    assert error.value.where == str(path)


def test_wrong_checksum_of_nifti(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(ramp()), str(path))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as a volume"):
        read_volume(path)


def test_nifti_of_several_gzip_members(tmp_path: Path) -> None:
    """As bgzip writes them, in blocks with an empty one at the end."""
    plain, path = tmp_path / "a.nii", tmp_path / "b.nii.gz"
    array = ramp((30, 40, 50), np.int32)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(plain))
    content = plain.read_bytes()
    blocks = [content[i : i + 65000] for i in range(0, len(content), 65000)]
    path.write_bytes(b"".join(map(gzip.compress, [*blocks, b""])))
    np.testing.assert_array_equal(volume_array(read_volume(path)), array)


def test_missing_file_and_folder_without_dicom(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_volume(tmp_path / "a.nii")
    (tmp_path / "a.txt").write_text("no volume")
    assert not is_series_folder(tmp_path)
    with pytest.raises(DataError, match="no DICOM series"):
        read_volume(tmp_path)


def test_dicom_series_is_ordered_by_position_and_rescaled(tmp_path: Path) -> None:
    array = ramp((6, 5, 4)) - 1024
    write_series(tmp_path, array, "CT")
    assert is_series_folder(tmp_path)
    image = read_volume(tmp_path)
    np.testing.assert_array_equal(volume_array(image), array)
    assert image.GetSpacing()[2] == pytest.approx(1)


def test_of_several_series_the_largest_or_the_chosen_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("flexseg").propagate = True
    write_series(tmp_path, ramp((5, 4, 4)), "portal")
    write_series(tmp_path, ramp((2, 4, 4)), "scout")
    with caplog.at_level(logging.WARNING, "flexseg"):
        assert volume_array(read_volume(tmp_path)).shape == (5, 4, 4)
    assert "2 DICOM series" in caplog.text
    assert "scout (2 files" in caplog.text
    assert volume_array(read_volume(tmp_path, series="SCOUT")).shape == (2, 4, 4)
    with pytest.raises(DataError, match="0 of the DICOM series match"):
        read_volume(tmp_path, series="arterial")
    write_series(tmp_path, ramp((5, 4, 4)), "venous")
    with pytest.raises(DataError, match=r"3 DICOM series.*portal.*venous") as error:
        read_volume(tmp_path)
    assert "--series" in error.value.fix


def test_a_missing_dicom_slice_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("flexseg").propagate = True
    write_series(tmp_path, ramp((4, 4, 4)), "CT", [0, 1, 2, 4])
    with caplog.at_level(logging.WARNING, "flexseg"):
        read_volume(tmp_path)
    assert "1 to 2 mm apart" in caplog.text


def test_real_dicom_and_segmentation_objects(shared: Path) -> None:
    image = read_volume(shared / "data" / "dicom" / "hippo_study1")
    assert image.GetSize() == (35, 51, 32)
    assert orientation(image) == "LPS"
    with pytest.raises(DataError, match="segmentation object"):
        read_volume(shared / "data" / "dicom" / "dcmqi_segmentations" / "liver.dcm")


def test_float_labels_must_be_whole_numbers(tmp_path: Path) -> None:
    values = np.array([[[0, 1], [2, 3.0004]]], np.float32)
    labels = label_array(sitk.GetImageFromArray(values), tmp_path)
    assert labels.tolist() == [[[0, 1], [2, 3]]]
    assert np.issubdtype(labels.dtype, np.integer)
    for wrong, count in ((0.37, 1), (np.nan, 1)):
        values[0, 0, 1] = wrong
        with pytest.raises(DataError, match=f"{count} voxels .* no whole numbers"):
            label_array(sitk.GetImageFromArray(values), tmp_path)


@pytest.mark.parametrize("value", [-1, 70000])
def test_labels_out_of_range(tmp_path: Path, value: int) -> None:
    array = np.array([[[0, value]]], np.int32)
    with pytest.raises(DataError, match="The labels have values from"):
        label_array(sitk.GetImageFromArray(array), tmp_path)


def test_labels_in_another_orientation_are_reordered(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(ramp((4, 5, 6)))
    image.SetSpacing((1, 2, 3))
    label = sitk.DICOMOrient(image, "PIR")
    assert not np.array_equal(volume_array(label), volume_array(image))
    matched, resampled = match_label(label, image, GeometryRule.STRICT, tmp_path)
    np.testing.assert_array_equal(volume_array(matched), volume_array(image))
    assert not resampled


def test_other_grids_need_a_rule(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((4, 8, 8), np.int16))
    label = sitk.GetImageFromArray((ramp((4, 8, 8)) % 3).astype(np.uint8))
    label.SetOrigin((2, 0, 0))
    with pytest.raises(DataError, match="another grid than the image: origin 2 x 0 x 0") as error:
        match_label(label, image, GeometryRule.STRICT, tmp_path)
    assert "--geometry resample" in error.value.fix
    matched, resampled = match_label(label, image, GeometryRule.RESAMPLE, tmp_path)
    assert resampled
    np.testing.assert_array_equal(volume_array(matched)[..., 2:], volume_array(label)[..., :6])
    assert not volume_array(matched)[..., :2].any()
    stored = volume_array(label)
    taken, _ = match_label(label, image, GeometryRule.VOXELS, tmp_path)
    np.testing.assert_array_equal(volume_array(taken), stored)
    assert taken.GetOrigin() == image.GetOrigin()


def test_labels_of_another_size_or_place(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((4, 8, 8), np.int16))
    label = sitk.GetImageFromArray(np.ones((4, 8, 7), np.uint8))
    for rule in (GeometryRule.STRICT, GeometryRule.VOXELS):
        with pytest.raises(DataError, match=r"size 7 x 8 x 4 \(image: 8 x 8 x 4"):
            match_label(label, image, rule, tmp_path)
    label.SetOrigin((500, 0, 0))
    with pytest.raises(DataError, match="No labelled voxel lies within the image"):
        match_label(label, image, GeometryRule.RESAMPLE, tmp_path)


def test_headers_in_single_precision_are_the_same_grid(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((4, 8, 8), np.int16))
    image.SetSpacing((0.7, 0.7, 5))
    image.SetOrigin((-171.3, 88.8, -401.2))
    label = sitk.GetImageFromArray(np.ones((4, 8, 8), np.uint8))
    label.SetSpacing(tuple(float(np.float32(v)) for v in image.GetSpacing()))
    label.SetOrigin(tuple(v + 1e-3 for v in image.GetOrigin()))
    matched, _ = match_label(label, image, GeometryRule.STRICT, tmp_path)
    assert matched.GetOrigin() == image.GetOrigin()


def test_nan_takes_the_lowest_value(tmp_path: Path) -> None:
    array = np.array([[[1, np.nan, np.inf, -3]]], np.float32)
    assert nonfinite_to_lowest(array, tmp_path).tolist() == [[[1, -3, -3, -3]]]
    with pytest.raises(DataError, match="No voxel has a finite value"):
        nonfinite_to_lowest(np.full((1, 1, 2), np.nan), tmp_path)
