"""Slices: anatomical views of volumes in any voxel order."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from flexseg.data.slices import AXES, SliceAxis
from flexseg.data.volumes import volume_array


def body() -> sitk.Image:
    """An LPS volume [z, y, x] with a mark each: 1 left, 2 anterior, 3 superior, of the centre."""
    array = np.zeros((7, 9, 11), np.uint8)
    array[3, 4, 10] = 1
    array[3, 0, 5] = 2
    array[6, 4, 5] = 3
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.75, 3))
    return image


@pytest.mark.parametrize("order", ["LPS", "RAS", "PSR", "LAS", "AIL", "SRP"])
@pytest.mark.parametrize(
    ("axis", "index", "marks", "spacing"),
    [
        # position (row, column) of a mark in the slice through the centre
        ("axial", 3, {1: (4, 10), 2: (0, 5)}, (0.75, 0.5, 3)),  # left is right, anterior is up
        ("coronal", 4, {1: (3, 10), 3: (0, 5)}, (3, 0.5, 0.75)),  # head is up
        ("sagittal", 5, {2: (3, 0), 3: (0, 4)}, (3, 0.75, 0.5)),  # anterior is left
    ],
)
def test_anatomical_slices_look_alike_in_every_voxel_order(
    order: str,
    axis: str,
    index: int,
    marks: dict[int, tuple[int, int]],
    spacing: tuple[float, float, float],
) -> None:
    cut = SliceAxis(axis)
    image = cut.orient(sitk.DICOMOrient(body(), order))
    pixels = cut.slices(volume_array(image))[index]
    assert {int(pixels[p]): p for p in zip(*map(list, np.nonzero(pixels)), strict=True)} == marks
    assert cut.spacing(image) == pytest.approx(spacing)


def test_axes_of_the_file_are_as_stored() -> None:
    image = sitk.DICOMOrient(body(), "PSR")
    array = volume_array(image)
    for axis, expected in (("0", np.moveaxis(array, 2, 0)), ("1", np.moveaxis(array, 1, 0))):
        cut = SliceAxis(axis)
        assert cut.orient(image) is image
        np.testing.assert_array_equal(cut.slices(array), expected)
    np.testing.assert_array_equal(SliceAxis("2").slices(array), array)


def test_rotation_is_clockwise_and_turns_the_spacing() -> None:
    array = np.arange(6).reshape(1, 2, 3)
    turned = SliceAxis("2", 90).slices(array)[0]
    assert turned.tolist() == [[3, 0], [4, 1], [5, 2]]
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.SetSpacing((1, 2, 5))
    assert SliceAxis("2", 90).spacing(image) == (1, 2, 5)
    assert SliceAxis("2", 180).spacing(image) == (2, 1, 5)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_slices_written_into_the_view_land_in_the_volume(axis: str, rotate: int) -> None:
    cut = SliceAxis(axis, rotate)
    array = np.random.default_rng(0).integers(0, 255, (4, 5, 6))
    copy = np.zeros_like(array)
    view = cut.slices(copy)
    for i, pixels in enumerate(cut.slices(array)):
        view[i] = pixels
    np.testing.assert_array_equal(copy, array)
