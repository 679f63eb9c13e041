"""What every transform of the registries must do; the tests of both kinds inherit from it."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.augment.fields import (
    Border,
    Displacement,
    Size,
    coordinates,
    identity,
    merged,
    warp,
)
from flexseg.augment.geometric import GEOMETRIC, Steps
from flexseg.augment.photometric import PHOTOMETRIC, Adjustment, adjust
from flexseg.augment.policy import Draw

Parameters = st.SearchStrategy[dict[str, Any]]

BORDERS: tuple[Border, ...] = get_args(Border)
# OpenCV places samples to 1/32 pixel; a tenth is far below the half that is required.
TOLERANCE = 0.1

shares = st.floats(0, 1)
sizes = st.tuples(st.integers(3, 70), st.integers(3, 70))
seeds = st.integers(0, 2**31 - 1)

GEOMETRIC_SAMPLES: dict[str, Parameters] = {
    "hflip": st.just({}),
    "vflip": st.just({}),
    "rotation": st.fixed_dictionaries({"angle": st.floats(-360, 360)}),
    "scaling": st.fixed_dictionaries({"x": st.floats(0.4, 3), "y": st.floats(0.4, 3)}),
    "shrink": st.fixed_dictionaries({"scale": st.floats(0.3, 1.5)}),
    "shear": st.fixed_dictionaries({"factor": st.floats(-1, 1)}),
    "crop": st.fixed_dictionaries({"share": st.floats(0.1, 1), "x": shares, "y": shares}),
    "deformation": st.fixed_dictionaries(
        {
            "alpha": st.floats(0, 200),
            "sigma": st.floats(1, 20),
            "strength": st.sampled_from(["legacy", "full"]),
            "channels": st.integers(1, 4),
        }
    ),
    "distortion": st.fixed_dictionaries({"amount": st.floats(0, 0.1), "sigma": st.floats(5, 60)}),
    "radial": st.fixed_dictionaries(
        {
            "radius": st.floats(0.1, 0.8),
            "amount": st.floats(-0.8, 1),
            "centers": st.lists(st.tuples(shares, shares), min_size=1, max_size=3),
        }
    ),
}

PHOTOMETRIC_SAMPLES: dict[str, Parameters] = {
    "noise": st.fixed_dictionaries({"std": st.floats(0.1, 1), "seed": seeds}),
    "blur": st.fixed_dictionaries({"sigma": st.floats(0.4, 3)}),
    "low_resolution": st.fixed_dictionaries({"scale": st.floats(0.1, 0.8)}),
    "sharpening": st.fixed_dictionaries({"k": st.floats(0.2, 2)}),
    "contrast": st.fixed_dictionaries({"factor": st.floats(0.2, 0.8) | st.floats(1.2, 2)}),
    "gamma": st.fixed_dictionaries(
        {
            "exponent": st.floats(0.5, 0.8) | st.floats(1.2, 2),
            "inverted": st.sampled_from([0.0, 1.0]),
        }
    ),
    "brightness": st.fixed_dictionaries(
        {"factor": st.floats(0.5, 1.5), "offset": st.floats(10, 50)}
    ),
    "window": st.fixed_dictionaries({"low": st.floats(-0.2, -0.1), "high": st.floats(0.8, 1.2)}),
    "curve": st.fixed_dictionaries(
        {
            "strength": st.floats(0.4, 1),
            "separate": st.sampled_from([0.0, 1.0]),
            "inverted": st.sampled_from([0.0, 1.0]),
            "seed": seeds,
        }
    ),
    "color": st.fixed_dictionaries({"strength": st.floats(0.2, 0.5), "seed": seeds}),
    "stain": st.fixed_dictionaries(
        {"strength": st.floats(0.2, 0.5), "offset": st.floats(0.05, 0.2), "seed": seeds}
    ),
    "bias": st.fixed_dictionaries({"strength": st.floats(0.1, 0.5), "seed": seeds}),
}


def steps_of(name: str, parameters: dict[str, Any], size: Size, seed: int = 0) -> Steps:
    """The steps of a transform of the registry."""
    return GEOMETRIC.get(name).steps(np.random.default_rng(seed), size, **parameters)


def random_image(size: Size, channels: int = 3, dtype: type = np.uint8, seed: int = 0) -> NDArray:
    """Every value of 0..255 is as likely."""
    values = np.random.default_rng(seed).integers(0, 256, (*size, channels))
    return values.astype(dtype)


def random_labels(size: Size, ids: list[int], seed: int = 0) -> NDArray[np.uint8]:
    """Areas of 4 x 4 pixels of random classes."""
    rows, columns = (-(-length // 4) for length in size)
    areas = np.random.default_rng(seed).choice(np.array(ids, np.uint8), (rows, columns))
    return areas.repeat(4, axis=0).repeat(4, axis=1)[: size[0], : size[1]].copy()


def checkerboard(size: Size, side: int) -> NDArray[np.uint8]:
    """Class 1 where the sum of the squares' row and column is odd."""
    y, x = np.indices(size) // side
    return ((x + y) % 2).astype(np.uint8)


def classes_at(
    labels: NDArray[np.uint8], where: NDArray[np.float32], border: Border
) -> NDArray[np.uint8]:
    """The class at coordinates [..., 2], written from the definition of the borders."""
    height, width = labels.shape
    x, y = np.moveaxis(np.floor(where.astype(float) + 0.5).astype(int), -1, 0)
    outside = (x < 0) | (y < 0) | (x >= width) | (y >= height)
    if border == "reflect":
        x, y = (
            np.abs((at + length - 1) % max(2 * length - 2, 1) - (length - 1))
            for at, length in ((x, width), (y, height))
        )
    result = labels[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    if border in ("constant", "pixel"):
        result = np.where(outside, 0, result)
    return result


def far_from_edges(
    labels: NDArray[np.uint8], where: NDArray[np.float32], border: Border, distance: float
) -> NDArray[np.bool_]:
    """Which coordinates are more than `distance` pixels away from any other class."""
    own = classes_at(labels, where, border)
    result = np.ones(own.shape, bool)
    for dx in (-distance, 0, distance):
        for dy in (-distance, 0, distance):
            moved = where + np.array([dx, dy], np.float32)
            result &= classes_at(labels, moved, border) == own
    return result


def smooth_image(size: Size, seed: int = 0) -> NDArray[np.float32]:
    """Long waves in 0..255."""
    y, x = np.indices(size, np.float32)
    phases = np.random.default_rng(seed).uniform(0, 6, 3)
    waves = [np.sin(x / 20 + y / 30 + phase) + np.cos(x / 25 - y / 20 + phase) for phase in phases]
    return (127 + 60 * np.stack(waves, axis=-1)).astype(np.float32)


class GeometricContract:
    """Tests of every geometric transform; one without an entry in the samples fails."""

    @pytest.mark.parametrize("name", GEOMETRIC)
    def test_says_what_it_is(self, name: str) -> None:
        entry = GEOMETRIC.get(name)
        signature = inspect.signature(entry.steps)
        assert 15 < len(entry.summary) < 700 and entry.summary.endswith(".")
        assert entry.neutral and set(entry.neutral) <= set(signature.parameters)
        assert [*signature.parameters][:2] == ["rng", "size"]

    @pytest.mark.parametrize("name", GEOMETRIC)
    @given(size=sizes, seed=seeds, border=st.sampled_from(BORDERS))
    @settings(max_examples=10, deadline=None)
    def test_identity_at_zero_strength(
        self, name: str, size: Size, seed: int, border: Border
    ) -> None:
        image, labels = random_image(size), random_labels(size, [0, 1, 2, 255])
        steps = steps_of(name, GEOMETRIC.get(name).neutral, size, seed)
        np.testing.assert_array_equal(coordinates(steps, size), identity(size))
        warped, moved = warp(image, labels, steps, border=border)
        np.testing.assert_array_equal(warped, image)
        np.testing.assert_array_equal(moved, labels)

    @pytest.mark.parametrize("name", GEOMETRIC)
    @given(data=st.data(), size=sizes, seed=seeds, border=st.sampled_from(BORDERS))
    @settings(max_examples=25, deadline=None)
    def test_labels_are_warped_as_each_class_is(
        self, name: str, data: st.DataObject, size: Size, seed: int, border: Border
    ) -> None:
        steps = steps_of(name, data.draw(GEOMETRIC_SAMPLES[name]), size, seed)
        ids = [0, 1, 2, 7, 254]
        image, labels = random_image(size, 1), random_labels(size, ids, seed)
        labels[size[0] // 2] = 1  # a line of one pixel
        _, moved = warp(image, labels, steps, border=border)
        indicators = [
            warp(image, (labels == i).astype(np.uint8), steps, border=border)[1] for i in ids
        ]
        assert np.max(np.sum(indicators, axis=0)) <= 1  # 0 where all of it lies outside
        np.testing.assert_array_equal(moved, np.array(ids)[np.argmax(indicators, axis=0)])
        outside = {0} if border in ("constant", "pixel") else set()
        assert set(np.unique(moved)) <= {*np.unique(labels), *outside}

    @pytest.mark.parametrize("name", GEOMETRIC)
    @given(
        data=st.data(),
        size=sizes,
        seed=seeds,
        side=st.integers(2, 9),
        border=st.sampled_from(BORDERS),
        interpolation=st.sampled_from(["bilinear", "cubic"]),
    )
    @settings(max_examples=40, deadline=None)
    def test_checkerboard_and_mask_stay_aligned(
        self,
        name: str,
        data: st.DataObject,
        size: Size,
        seed: int,
        side: int,
        border: Border,
        interpolation: Any,
    ) -> None:
        steps = steps_of(name, data.draw(GEOMETRIC_SAMPLES[name]), size, seed)
        labels = checkerboard(size, side)
        image = np.float32(255) * labels[..., None]
        warped, moved = warp(image, labels, steps, border=border, interpolation=interpolation)
        where = coordinates(merged(steps), size)
        clear = far_from_edges(labels, where, border, TOLERANCE)
        expected = classes_at(labels, where, border)
        np.testing.assert_array_equal(moved[clear], expected[clear])
        # Interpolation rounds the corners of what lies between others: by (1 - f)^2 = 0.5, 0.21
        # pixels. That is so at the corners of an image with another class around it.
        if border in ("constant", "pixel"):
            clear &= far_from_edges(labels, where, border, 0.25)
        if interpolation == "cubic":  # its four taps reach beyond squares that the image cuts
            clear &= _inside(where, size, 2)
        np.testing.assert_array_equal((warped[..., 0] > 127.5)[clear], expected[clear] == 1)

    @pytest.mark.parametrize("name", GEOMETRIC)
    @given(data=st.data(), size=sizes, seed=seeds, channels=st.integers(1, 6))
    @settings(max_examples=10, deadline=None)
    def test_shape_type_and_input_are_kept(
        self, name: str, data: st.DataObject, size: Size, seed: int, channels: int
    ) -> None:
        steps = steps_of(name, data.draw(GEOMETRIC_SAMPLES[name]), size, seed)
        labels = random_labels(size, [0, 3])
        labels.setflags(write=False)
        for dtype in (np.uint8, np.float32):
            image = np.tile(smooth_image(size), 2)[..., :channels].astype(dtype)
            image.setflags(write=False)
            warped, moved = warp(image, labels, steps)
            assert (warped.dtype, warped.shape) == (image.dtype, image.shape)
            assert (moved.dtype, moved.shape) == (labels.dtype, labels.shape)
            for c in range(channels):  # no channel is moved otherwise than the first
                alone, _ = warp(image[..., c : c + 1].copy(), labels, steps)
                # OpenCV places the samples of other channel counts up to 1/32 pixel beside them.
                np.testing.assert_allclose(warped[..., c], alone[..., 0].astype(float), atol=2)

    @pytest.mark.parametrize("name", GEOMETRIC)
    @given(data=st.data(), seed=seeds)
    @settings(max_examples=5, deadline=None)
    def test_same_numbers_same_field(self, name: str, data: st.DataObject, seed: int) -> None:
        parameters = data.draw(GEOMETRIC_SAMPLES[name])
        size = (20, 31)
        expected = coordinates(steps_of(name, parameters, size, seed), size)
        for length in range(20):  # wherever the arrays lie in memory
            between = np.empty(length * 7, np.float32)
            again = coordinates(steps_of(name, parameters, size, seed), size)
            np.testing.assert_array_equal(again, expected)
            del between

    @pytest.mark.parametrize("name", GEOMETRIC)
    @given(data=st.data(), other=st.sampled_from(list(GEOMETRIC)), seed=seeds)
    @settings(max_examples=20, deadline=None)
    def test_composed_is_sequential(
        self, name: str, data: st.DataObject, other: str, seed: int
    ) -> None:
        size = (90, 120)
        image, labels = smooth_image(size), np.zeros(size, np.uint8)
        first = steps_of(name, data.draw(GEOMETRIC_SAMPLES[name]), size, seed)
        second = steps_of(other, data.draw(GEOMETRIC_SAMPLES[other]), size, seed + 1)
        at_once, _ = warp(image, labels, [*first, *second])
        between, _ = warp(image, labels, first)
        in_turn, _ = warp(between, labels, second)
        known = _smoothly_inside(first, second, size)
        np.testing.assert_allclose(at_once[known], in_turn[known], atol=3)
        assert np.abs(at_once - in_turn)[known].mean() < 0.5 if known.any() else True

    @pytest.mark.parametrize("name", GEOMETRIC)
    @given(data=st.data(), size=sizes, seed=seeds, border=st.sampled_from(BORDERS))
    @settings(max_examples=10, deadline=None)
    def test_joined_affine_steps_are_the_general_field(
        self, name: str, data: st.DataObject, size: Size, seed: int, border: Border
    ) -> None:
        steps = steps_of(name, data.draw(GEOMETRIC_SAMPLES[name]), size, seed)
        still = Displacement(np.zeros((2, 2, 2), np.float32))  # keeps OpenCV's short cut out
        labels = random_labels(size, [0, 1, 2])
        image = smooth_image(size)
        joined = warp(image, labels, steps, border=border)
        general = warp(image, labels, [*steps, still], border=border)
        clear = far_from_edges(labels, coordinates(steps, size), border, TOLERANCE)
        np.testing.assert_array_equal(joined[1][clear], general[1][clear])
        # Two roundings to 1/32 pixel, along a fall of 255 per pixel at a border at most.
        np.testing.assert_allclose(joined[0], general[0], atol=2 * 255 / 32)


def _inside(where: NDArray[np.float32], size: Size, margin: float) -> NDArray[np.bool_]:
    limits = np.array([size[1] - 1 - margin, size[0] - 1 - margin])
    return ((where >= margin) & (where <= limits)).all(axis=-1)


def _smoothly_inside(first: Steps, second: Steps, size: Size) -> NDArray[np.bool_]:
    """Where the image between two warps is known, and smooth enough to be interpolated."""
    between = coordinates(second, size)
    known = _inside(between, size, 2)
    known &= _inside(coordinates([*first, *second], size), size, 2)
    field = coordinates(first, size)
    rough = np.zeros(size, bool)
    for axis in (0, 1):
        slope = np.gradient(field, axis=axis)
        bend = np.gradient(slope, axis=axis)
        rough |= (np.abs(slope).max(axis=-1) > 2) | (np.abs(bend).max(axis=-1) > 0.05)
    # A pixel's neighbours count too.
    wide = classes_at(_grown(rough), between, "edge")
    return known & (wide == 0)


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    padded = np.pad(mask, 2)
    height, width = mask.shape
    shifts = [padded[y : y + height, x : x + width] for y in range(5) for x in range(5)]
    return np.any(shifts, axis=0).astype(np.uint8)


class PhotometricContract:
    """Tests of every photometric transform; one without an entry in the samples fails."""

    @pytest.mark.parametrize("name", PHOTOMETRIC)
    def test_says_what_it_is(self, name: str) -> None:
        entry = PHOTOMETRIC.get(name)
        parameters = set(inspect.signature(entry.apply).parameters) - {"image"}
        assert 10 < len(entry.summary) < 200 and entry.summary.endswith(".")
        assert set(entry.neutral) == parameters

    @pytest.mark.parametrize("name", PHOTOMETRIC)
    @given(size=sizes, channels=st.integers(1, 5))
    @settings(max_examples=10, deadline=None)
    def test_identity_at_zero_strength(self, name: str, size: Size, channels: int) -> None:
        neutral = [Adjustment(name, PHOTOMETRIC.get(name).neutral)]
        image = random_image(size, channels)
        np.testing.assert_array_equal(adjust(image, neutral), image)
        values = image.astype(np.float32)
        np.testing.assert_allclose(adjust(values, neutral), values, atol=1e-3)

    @pytest.mark.parametrize("name", PHOTOMETRIC)
    @given(data=st.data(), size=sizes, channels=st.integers(1, 6))
    @settings(max_examples=20, deadline=None)
    def test_type_range_and_labels_are_kept(
        self, name: str, data: st.DataObject, size: Size, channels: int
    ) -> None:
        draw = Draw(adjustments=(Adjustment(name, data.draw(PHOTOMETRIC_SAMPLES[name])),))
        labels = random_labels(size, [0, 1, 255])
        for dtype in (np.uint8, np.float32):
            image = random_image(size, channels, dtype)
            before = image.copy()
            adjusted, same = draw.apply(image, labels)
            np.testing.assert_array_equal(image, before)
            np.testing.assert_array_equal(same, random_labels(size, [0, 1, 255]))
            assert (adjusted.dtype, adjusted.shape) == (image.dtype, image.shape)
            assert adjusted.min() >= 0 and adjusted.max() <= 255
            assert (adjusted != image).any()

    @pytest.mark.parametrize("name", PHOTOMETRIC)
    @given(data=st.data(), size=sizes, channels=st.integers(1, 5))
    @settings(max_examples=10, deadline=None)
    def test_both_types_agree(
        self, name: str, data: st.DataObject, size: Size, channels: int
    ) -> None:
        adjustment = Adjustment(name, data.draw(PHOTOMETRIC_SAMPLES[name]))
        image = random_image(size, channels)
        as_float = adjust(image.astype(np.float32), [adjustment])
        as_bytes = adjust(image, [adjustment])
        # Half a grey level is rounding.
        np.testing.assert_allclose(as_bytes.astype(np.float32), as_float, atol=0.501)
