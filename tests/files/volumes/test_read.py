"""Volumes in: formats, channels, damage, labels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from flexseg.errors import DataError
from flexseg.files.volumes.read import (
    label_array,
    one_channel,
    read_labels,
    read_volume,
)
from synthetic_volumes import ramp


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr"])
def test_formats_keep_values_and_geometry(tmp_path: Path, suffix: str) -> None:
    """As ITK writes them."""
    image = sitk.GetImageFromArray(ramp())
    image.SetSpacing((0.5, 0.75, 3.0))
    image.SetOrigin((10, -20, 30))
    path = tmp_path / f"größe 腫瘍.p1{suffix}"
    sitk.WriteImage(image, str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, ramp())
    np.testing.assert_allclose(volume.spacing, (0.5, 0.75, 3.0))
    np.testing.assert_allclose(volume.origin, (10, -20, 30))
    assert not volume.array.flags.writeable


def test_a_flat_file_is_a_volume_of_one_slice(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(ramp((4, 5))), str(tmp_path / "a.mha"))
    assert read_volume(tmp_path / "a.mha").array.shape == (1, 4, 5)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("vectors", [False, True])
def test_channels_come_last_and_are_chosen(tmp_path: Path, suffix: str, vectors: bool) -> None:
    both = np.stack([ramp(), ramp() + 100], axis=-1)
    image = (
        sitk.GetImageFromArray(both, isVector=True)
        if vectors
        else sitk.JoinSeries([sitk.GetImageFromArray(ramp() + 100 * i) for i in range(2)])
    )
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image, str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, both)
    np.testing.assert_array_equal(read_volume(path, channel=1).array, ramp() + 100)
    assert one_channel(read_volume(path, channel=0), path).channels == 1
    for refuse in (lambda: one_channel(volume, path), lambda: read_labels(path)):
        with pytest.raises(DataError, match=r"2 channels \(size 5 x 4 x 3 x 2\)") as error:
            refuse()
        assert "--channel" in error.value.fix
    np.testing.assert_array_equal(read_labels(path, channel=0).array, ramp())
    for wrong in (2, -1):
        with pytest.raises(DataError, match=f"Channel {wrong} does not exist"):
            read_volume(path, channel=wrong)


def test_five_dimensions(tmp_path: Path) -> None:
    image = sitk.Image([2, 2, 2, 2, 2], sitk.sitkUInt8)
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    with pytest.raises(DataError, match="5 dimensions"):
        read_volume(tmp_path / "a.mha")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("share", [0, 0.003, 0.1, 0.99])
def test_damaged_files_are_data_errors(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path))
    np.testing.assert_array_equal(read_volume(path).array, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match="cannot be read as a volume") as error:
        read_volume(path)
    assert error.value.where == str(path)


@pytest.mark.parametrize(
    "suffix", [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".npy", ".h5", ".dcm"]
)
def test_another_format_than_the_name_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9)
    with pytest.raises(DataError, match="cannot be read as a volume"):
        read_volume(path)


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("ElementSpacing", "0 1 1", "spacing"),
        ("TransformMatrix", "1 0 0 1 0 0 0 0 1", "do not span a volume"),
    ],
)
def test_headers_that_give_no_place(tmp_path: Path, field: str, value: str, match: str) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(ramp()), str(path))
    content = re.sub(
        rf"{field} = [^\n]*".encode(), f"{field} = {value}".encode(), path.read_bytes()
    )
    path.write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_volume(path)


def test_a_matrix_that_scales_makes_larger_voxels(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(ramp()), str(path))
    matrix = b"TransformMatrix = 2 0 0 0 1 0 0 0 1"
    path.write_bytes(re.sub(rb"TransformMatrix = [^\n]*", matrix, path.read_bytes()))
    volume = read_volume(path)
    assert volume.spacing == (2, 1, 1)
    assert not volume.sheared


@pytest.mark.parametrize("name", ["a.png", "a", "a.nii.zip"])
def test_names_that_are_no_volumes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(DataError, match="By its name this is not a volume"):
        read_volume(tmp_path / name)


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_volume(tmp_path / "a.nii")
    with pytest.raises(DataError, match="no DICOM series"):
        read_volume(tmp_path)


def test_float_labels_must_be_whole_numbers(tmp_path: Path) -> None:
    values = np.array([[[0, 1], [2, 3.0004]]], np.float32)
    labels = label_array(values, tmp_path)
    assert labels.tolist() == [[[0, 1], [2, 3]]]
    assert np.issubdtype(labels.dtype, np.integer)
    for wrong, count in ((0.37, 1), (np.nan, 1)):
        values[0, 0, 1] = wrong
        with pytest.raises(DataError, match=f"{count} label voxel is not an integer"):
            label_array(values, tmp_path)


@pytest.mark.parametrize("value", [-1, 70000])
def test_labels_out_of_range(tmp_path: Path, value: int) -> None:
    array = np.array([[[0, value]]], np.int32)
    with pytest.raises(DataError, match="The labels have values from"):
        label_array(array, tmp_path)
