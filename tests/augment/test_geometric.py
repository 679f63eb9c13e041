"""Geometric transforms: their contract, and known answers of each."""

from __future__ import annotations

import numpy as np
import pytest
from augment_contract import (
    GEOMETRIC_SAMPLES,
    GeometricContract,
    random_image,
    random_labels,
    steps_of,
)
from numpy.typing import NDArray

from flexseg.augment.fields import Displacement, Size, field, warp
from flexseg.augment.geometric import GEOMETRIC, noise_rms

SQUARE = (512, 512)


class TestGeometric(GeometricContract):
    """Every transform of the registry."""


def test_samples_are_of_registered_transforms() -> None:
    assert set(GEOMETRIC_SAMPLES) == set(GEOMETRIC)


def lengths(name: str, seed: int = 0, size: Size = SQUARE, **parameters: object) -> NDArray:
    """How far each pixel is displaced."""
    return np.linalg.norm(field(steps_of(name, parameters, size, seed), size), axis=-1)


def rms(values: NDArray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (1, 9), (31, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_flips_reverse_the_array(size: Size, dtype: type) -> None:
    image, labels = random_image(size, 3, dtype), random_labels(size, [0, 1, 2])
    for name, axis in (("hflip", 1), ("vflip", 0)):
        flipped, moved = warp(image, labels, steps_of(name, {}, size))
        np.testing.assert_array_equal(flipped, np.flip(image, axis))
        np.testing.assert_array_equal(moved, np.flip(labels, axis))


@pytest.mark.parametrize("side", [8, 9, 100])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_counter_clockwise(side: int, turns: int) -> None:
    size = (side, side)
    image, labels = random_image(size), random_labels(size, [0, 1, 2])
    turned, moved = warp(image, labels, steps_of("rotation", {"angle": 90 * turns}, size))
    np.testing.assert_array_equal(turned, np.rot90(image, turns))
    np.testing.assert_array_equal(moved, np.rot90(labels, turns))


@pytest.mark.parametrize("size", [(7, 12), (30, 9), (16, 5)])
def test_half_a_turn_reverses_both_axes_at_any_size(size: Size) -> None:
    image, labels = random_image(size), random_labels(size, [0, 1, 2])
    turned, moved = warp(image, labels, steps_of("rotation", {"angle": 180}, size))
    np.testing.assert_array_equal(turned, image[::-1, ::-1])
    np.testing.assert_array_equal(moved, labels[::-1, ::-1])


def test_a_small_rotation_lifts_the_right_side() -> None:
    size, labels = (41, 41), np.zeros((41, 41), np.uint8)
    labels[20, 40] = 1
    _, moved = warp(random_image(size), labels, steps_of("rotation", {"angle": 30}, size))
    rows, columns = np.nonzero(moved)
    # 20 pixels from the centre: 20 sin 30 = 10 up, 20 cos 30 = 17.3 to the right of it.
    assert abs(rows.mean() - 10) < 1 and abs(columns.mean() - 37.3) < 1


def test_shear_moves_columns_down_by_their_distance_from_the_centre() -> None:
    size, labels = (21, 21), np.zeros((21, 21), np.uint8)
    labels[10, :] = 1
    _, moved = warp(random_image(size), labels, steps_of("shear", {"factor": 0.5}, size))
    for column in (0, 4, 10, 14, 20):
        assert np.flatnonzero(moved[:, column]).tolist() == [10 + (column - 10) // 2]


def test_scaling_makes_everything_as_many_times_as_large() -> None:
    size, labels = (60, 60), np.zeros((60, 60), np.uint8)
    labels[25:35, 25:35] = 1
    steps = steps_of("scaling", {"x": 2, "y": 0.5}, size)
    _, moved = warp(random_image(size), labels, steps, border="constant")
    rows, columns = np.nonzero(moved)
    # Centred as before, 5 rows high, 20 columns wide.
    assert np.ptp(rows) + 1 == 5
    assert np.ptp(columns) + 1 == 20
    assert columns.min() + columns.max() == 59


def test_shrink_is_the_image_in_the_middle_of_a_border() -> None:
    size, labels = (50, 50), np.ones((50, 50), np.uint8)
    steps = steps_of("shrink", {"scale": 0.8}, size)
    _, moved = warp(random_image(size), labels, steps, border="constant")
    expected = np.pad(np.ones((40, 40), np.uint8), 5)
    np.testing.assert_array_equal(moved, expected)


def test_crop_enlarges_exactly_its_window() -> None:
    size = (21, 41)
    image, labels = random_image(size), random_labels(size, [0, 1, 2])
    steps = steps_of("crop", {"share": 0.5, "x": 0.0, "y": 1.0}, size)
    enlarged, moved = warp(image, labels, steps)
    # The window is rows 10..20 and columns 0..20; every second pixel of the result is one of it.
    np.testing.assert_array_equal(enlarged[::2, ::2], image[10:, :21])
    np.testing.assert_array_equal(moved[::2, ::2], labels[10:, :21])


def test_crop_stays_in_the_image() -> None:
    for x in (0.0, 0.3, 1.0):
        shift = field(steps_of("crop", {"share": 0.3, "x": x, "y": x}, (40, 60)), (40, 60))
        columns = shift[..., 0] + np.arange(60)
        assert columns.min() >= 0 and columns.max() <= 59
        assert columns.max() - columns.min() == pytest.approx(0.3 * 59, abs=1e-4)


@pytest.mark.parametrize(("channels", "expected"), [(3, 3.2), (1, 1.9)])
def test_legacy_deformation_is_as_strong_as_measured_on_the_originals(
    channels: int, expected: float
) -> None:
    """Section 6.3 of the description, alpha 1300, sigma 8, 512 x 512 pixels."""
    fields = [
        lengths("deformation", seed, alpha=1300, sigma=8, strength="legacy", channels=channels)
        for seed in range(4)
    ]
    assert rms(np.array(fields)) == pytest.approx(expected, rel=0.05)
    assert np.mean([f.max() for f in fields]) == pytest.approx(expected / 3.2 * 9.9, rel=0.15)


@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0, 16.0])
def test_full_deformation_has_the_strength_and_width_of_smoothed_noise(sigma: float) -> None:
    steps = [steps_of("deformation", {"alpha": 1000, "sigma": sigma}, SQUARE, s) for s in range(3)]
    margin = 4 * int(sigma)  # zeros outside make it weaker there, as in the paper's programs
    fields = np.array([field(s, SQUARE)[margin:-margin, margin:-margin] for s in steps])
    expected = 1000 * noise_rms(sigma)
    if sigma == 8:
        assert noise_rms(8) * 1300 == pytest.approx(26, abs=0.6)
    few = 0.04 + sigma / 200  # a wide Gaussian leaves few independent numbers
    for axis in (0, 1):
        assert rms(fields[..., axis]) == pytest.approx(expected, rel=few + 0.02 / sigma)
    # Smoothed white noise is correlated by exp(-d^2 / 4 sigma^2) at distance d.
    d = round(2 * sigma)
    for ahead, behind in (
        (fields[:, d:], fields[:, :-d]),
        (fields[:, :, d:], fields[:, :, :-d]),
    ):
        correlation = np.mean(ahead * behind) / np.mean(fields**2)
        assert correlation == pytest.approx(np.exp(-((d / sigma) ** 2) / 4), abs=0.08)


def test_deformation_axes_are_independent() -> None:
    f = field(steps_of("deformation", {"alpha": 1000, "sigma": 6}, SQUARE), SQUARE)
    assert abs(np.corrcoef(f[..., 0].ravel(), f[..., 1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("size", [(512, 512), (256, 512), (512, 300)])
@pytest.mark.parametrize("amount", [0.02, 0.03])
def test_distortion_reaches_its_limit_along_each_axis(size: Size, amount: float) -> None:
    shift = field(steps_of("distortion", {"amount": amount, "sigma": 40}, size), size)
    limit = int(512 * amount)
    for axis, length in ((0, size[1]), (1, size[0])):
        reached = np.abs(shift[..., axis]).max()
        assert 0.95 * limit * length / 512 <= reached <= limit * length / 512 + 1e-3


@pytest.mark.parametrize("side", [4, 32, 64, 128])
def test_distortion_is_bounded_where_its_gaussian_is_wider_than_the_image(side: int) -> None:
    for seed in range(20):
        shift = field(
            steps_of("distortion", {"amount": 0.1, "sigma": 40}, (side, side), seed), (side, side)
        )
        assert np.abs(shift).max() <= int(side * 0.1) + 1e-3


@pytest.mark.parametrize(("amount", "largest"), [(0.3, 9.7), (0.5, 15.0), (-0.3, 13.0)])
def test_radial_distortion_is_as_strong_as_measured_on_the_originals(
    amount: float, largest: float
) -> None:
    """Section 6.3 of the description: 512 x 512 pixels, radius 0.3."""
    moved = lengths("radial", radius=0.3, amount=amount, centers=[(0.5, 0.5)])
    assert moved.max() == pytest.approx(largest, abs=0.05)
    y, x = np.indices(SQUARE) - 256
    distance = np.hypot(x, y) / (0.3 * 512)
    assert np.array_equal(moved[distance >= 1], np.zeros((distance >= 1).sum()))
    if amount == 0.3:
        assert distance.ravel()[moved.argmax()] == pytest.approx(0.29, abs=0.02)


@pytest.mark.parametrize("amount", [0.5, -0.4])
def test_barrel_looks_inwards_and_pincushion_outwards(amount: float) -> None:
    size = (101, 101)
    shift = field(
        steps_of("radial", {"radius": 0.4, "amount": amount, "centers": [(0.5, 0.5)]}, size), size
    )
    inwards = -shift[50, 60:85, 0]  # right of the centre
    assert (np.sign(inwards) == np.sign(amount)).all()


def test_radial_centres_work_on_the_result_of_those_before() -> None:
    size, labels = (64, 64), np.zeros((64, 64), np.uint8)
    image = random_image(size, 1, np.float32)
    one, two = (0.4, 0.5), (0.6, 0.5)
    common = {"radius": 0.4, "amount": 0.5}
    both = steps_of("radial", common | {"centers": [one, two]}, size)
    first = steps_of("radial", common | {"centers": [one]}, size)
    second = steps_of("radial", common | {"centers": [two]}, size)
    expected, _ = warp(image, labels, [*first, *second])
    np.testing.assert_array_equal(warp(image, labels, both)[0], expected)
    swapped, _ = warp(image, labels, [*second, *first])
    assert not np.array_equal(expected, swapped)


def test_elastic_grids_are_coarse() -> None:
    (step,) = steps_of("deformation", {"alpha": 1300, "sigma": 8}, SQUARE)
    assert isinstance(step, Displacement)
    assert step.grid.shape == (256, 256, 2)
    (step,) = steps_of("distortion", {"amount": 0.02, "sigma": 40}, (256, 512))
    assert isinstance(step, Displacement)
    assert step.grid.shape == (51, 51, 2)
