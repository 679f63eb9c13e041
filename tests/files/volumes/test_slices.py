"""Slices: anatomical views of volumes in any voxel order."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.errors import ConfigError
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.slices import (
    ANATOMICAL_AXES,
    AXES,
    SliceAxis,
    contiguous,
    parse_axes,
    slice_axes,
    stack_neighbours,
    volume_intensity,
)
from flexseg.files.volumes.volume import Volume


def body() -> Volume:
    """An LPS volume [z, y, x] with a mark each: 1 left, 2 anterior, 3 superior, of the centre."""
    array = np.zeros((7, 9, 11), np.uint8)
    array[3, 4, 10] = 1
    array[3, 0, 5] = 2
    array[6, 4, 5] = 3
    return Volume(array, (0.5, 0.75, 3.0))


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
    volume = body().oriented(order)
    pixels = cut.slice_view(volume.array, volume.orientation)[index]
    assert {int(pixels[p]): p for p in zip(*map(list, np.nonzero(pixels)), strict=True)} == marks
    assert cut.spacing(volume) == pytest.approx(spacing)


def test_axes_of_the_file_are_as_stored() -> None:
    image = body().oriented("PSR")
    array = image.array
    for axis, expected in (("0", np.moveaxis(array, 2, 0)), ("1", np.moveaxis(array, 1, 0))):
        cut = SliceAxis(axis)
        np.testing.assert_array_equal(cut.slice_view(array, image.orientation), expected)
    np.testing.assert_array_equal(SliceAxis("2").slices(array), array)


def test_rotation_is_clockwise_and_turns_the_spacing() -> None:
    array = np.arange(6).reshape(1, 2, 3)
    turned = SliceAxis("2", 90).slices(array)[0]
    assert turned.tolist() == [[3, 0], [4, 1], [5, 2]]
    image = Volume(array, (1, 2, 5))
    assert SliceAxis("2", 90).spacing(image) == (1, 2, 5)
    assert SliceAxis("2", 180).spacing(image) == (2, 1, 5)


# Every way to name the ends that x, y and z point to.
ORIENTATIONS = [
    "".join(ends) for axes in permutations(("LR", "PA", "SI")) for ends in product(*axes)
]
AXIS_NAMES = st.sampled_from(AXES)
ROTATIONS = st.sampled_from([0, 90, 180, 270])


def from_lps(image: sitk.Image, axis: str) -> NDArray:
    """The slices of an LPS image, written out."""
    z = sitk.GetArrayFromImage(image)
    if axis == "axial":
        return z
    if axis == "coronal":
        return np.stack([z[::-1, y] for y in range(z.shape[1])])
    return np.stack([z[::-1, :, x] for x in range(z.shape[2])])


@pytest.mark.parametrize("axis", ANATOMICAL_AXES)
def test_all_orientations_give_the_slices_of_the_reordered_volume(axis: str) -> None:
    assert len(set(ORIENTATIONS)) == 48
    array = np.random.default_rng(0).integers(0, 99, (3, 4, 5))
    tilt = np.linalg.qr(np.eye(3) + 0.2 * np.random.default_rng(1).normal(size=(3, 3)))[0]
    tilt *= np.sign(np.diag(tilt))
    for order in ORIENTATIONS:
        for direction in (np.eye(3), tilt):
            lps = sitk.GetImageFromArray(array)
            lps.SetSpacing((0.5, 0.75, 3))
            lps.SetDirection(direction.ravel())
            image = sitk.DICOMOrient(lps, order)
            volume = Volume.from_image(image)
            assert volume.orientation == order
            view = SliceAxis(axis).slice_view(volume.array, volume.orientation)
            expected = from_lps(sitk.DICOMOrient(image, "LPS"), axis)
            np.testing.assert_array_equal(view, expected)
            np.testing.assert_array_equal(view, from_lps(lps, axis))
            assert np.shares_memory(view, volume.array)


@given(
    axis=AXIS_NAMES,
    rotate=ROTATIONS,
    order=st.sampled_from(ORIENTATIONS),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    channels=st.sampled_from([(), (1,), (3,)]),
)
def test_slices_written_into_the_view_land_in_the_volume(
    axis: str, rotate: int, order: str, shape: tuple[int, ...], channels: tuple[int, ...]
) -> None:
    cut = SliceAxis(axis, rotate)
    array = np.random.default_rng(0).integers(0, 255, (*shape, *channels))
    copy = np.zeros_like(array)
    view = cut.slice_view(copy, order)
    assert view.shape[3:] == channels
    for i, pixels in enumerate(cut.slice_view(array, order)):
        view[i] = pixels
    np.testing.assert_array_equal(copy, array)


@given(order=st.sampled_from(ORIENTATIONS), axis=AXIS_NAMES, rotate=ROTATIONS)
def test_blocks_of_slices_are_copied_as_they_are(order: str, axis: str, rotate: int) -> None:
    array = np.random.default_rng(0).integers(0, 255, (5, 6, 7, 2))
    for volume in (array, array[..., 0], array[..., :1]):
        block = SliceAxis(axis, rotate).slice_view(volume, order)[1:4]
        copy = contiguous(block)
        assert copy.flags.c_contiguous
        np.testing.assert_array_equal(copy, block)
        assert contiguous(copy) is copy


@given(order=st.sampled_from(ORIENTATIONS), axis=AXIS_NAMES, rotate=ROTATIONS)
def test_spacing_is_that_of_the_view(order: str, axis: str, rotate: int) -> None:
    volume = body().oriented(order)
    mm = np.empty((*volume.shape, 3))
    for along, step in enumerate(volume.voxel_size):
        index = np.arange(volume.shape[along]) * step
        mm[..., along] = index.reshape([-1 if k == along else 1 for k in range(3)])
    view = SliceAxis(axis, rotate).slice_view(mm, order)
    between, rows, columns = (float(np.abs(np.diff(view, axis=k)).max()) for k in range(3))
    assert SliceAxis(axis, rotate).spacing(volume) == pytest.approx((rows, columns, between))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("axial", ("axial",)), ("all", ANATOMICAL_AXES), ("Sagittal, axial", ("sagittal", "axial")),
     ("2", ("2",))],
)  # fmt: skip
def test_axes_as_text(text: str, expected: tuple[str, ...]) -> None:
    assert parse_axes(text) == expected


@pytest.mark.parametrize("text", ["", "z", "axial,0", "0,1", "axial,axial", "all,axial", "axial,"])
def test_axes_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="does not name axes"):
        parse_axes(text)


def test_the_axes_of_a_network_begin_with_its_main_one() -> None:
    one = Preprocessing(8, 8, 1, axis="coronal", rotate=90)
    assert slice_axes(one) == (SliceAxis("coronal", 90),)
    three = Preprocessing(8, 8, 1, axis="coronal", axes=ANATOMICAL_AXES)
    assert [a.name for a in slice_axes(three)] == ["coronal", "axial", "sagittal"]


def test_stacks_repeat_the_slices_at_the_ends() -> None:
    slices = np.arange(4)[:, None, None] + np.zeros((1, 2, 3), int)
    numbers = [stack_neighbours(slices, i, 2)[0, 0].tolist() for i in range(4)]
    assert numbers == [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 3, 3]]
    assert stack_neighbours(slices[..., None], 1, 1).shape == (2, 3, 3)
    assert stack_neighbours(slices[:1], 0, 1)[0, 0].tolist() == [0, 0, 0]


@settings(max_examples=40)
@given(
    window=st.sampled_from(["lung", "0.1/0.3", "percentile", "zscore:2.5", "full", None]),
    order=st.sampled_from(ORIENTATIONS),
    broken=st.booleans(),
    dtype=st.sampled_from([np.int16, np.float32, np.float64]),
)
def test_grey_values_depend_on_nothing_but_the_patient(
    window: str | None, order: str, broken: bool, dtype: type
) -> None:
    """The same voxels in another order give the same slices, bit for bit."""
    array: NDArray = np.random.default_rng(0).normal(-200, 700, (5, 6, 7)).astype(dtype)
    if broken and dtype is not np.int16:
        array[2, 3, 4], array[0, 0, 0] = np.nan, -np.inf
    lps = Volume(array)
    preprocessing = Preprocessing(8, 8, 1, axis="coronal", intensity=window)
    slices = []
    for volume in (lps, lps.oriented(order)):
        grey = volume_intensity(volume, preprocessing)
        view = SliceAxis("coronal").slice_view(volume.array, volume.orientation)
        slices.append(np.stack([grey(pixels) for pixels in view]))
        np.testing.assert_array_equal(grey(view), slices[-1])
        np.testing.assert_array_equal(grey(stack_neighbours(view, 1, 2))[..., 2], slices[-1][1])
    np.testing.assert_array_equal(slices[0], slices[1])
    assert slices[0].dtype == (dtype if window is None else np.uint8)
    assert np.isfinite(slices[0]).all()
