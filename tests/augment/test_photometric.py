"""Photometric transforms: their contract, and known answers of each."""

from __future__ import annotations

import numpy as np
import pytest
from augment_contract import PHOTOMETRIC_SAMPLES, PhotometricContract, random_image
from numpy.typing import NDArray

from flexseg.augment.photometric import (
    PHOTOMETRIC,
    Adjustment,
    adjust,
    normal,
    sampled_neighbours,
)


class TestPhotometric(PhotometricContract):
    """Every transform of the registry."""


def test_samples_are_of_registered_transforms() -> None:
    assert set(PHOTOMETRIC_SAMPLES) == set(PHOTOMETRIC)


def applied(name: str, image: NDArray, **parameters: float) -> NDArray[np.float32]:
    return PHOTOMETRIC.get(name).apply(np.asarray(image, np.float32), **parameters)


def test_random_numbers_are_normal_and_independent() -> None:
    values = normal(512 * 512 * 3, 5)
    assert values.dtype == np.float32 and np.isfinite(values).all()
    error = 5 / np.sqrt(values.size)
    assert values.mean() == pytest.approx(0, abs=error)
    assert values.std() == pytest.approx(1, abs=error)
    assert np.mean(values**3) == pytest.approx(0, abs=4 * error)
    assert np.mean(values**4) == pytest.approx(3, abs=10 * error)
    assert np.mean(np.abs(values) < 1) == pytest.approx(0.6827, abs=error)
    assert 4 < np.abs(values).max() < 6.5
    for lag in (1, 2, 3, 512, 512 * 3, 2**15):  # pixels, channels, rows, blocks
        assert np.mean(values[lag:] * values[:-lag]) == pytest.approx(0, abs=error)
        assert np.mean(values[lag:] ** 2 * values[:-lag] ** 2) == pytest.approx(1, abs=5 * error)


def test_random_numbers_depend_on_seed_and_position_alone() -> None:
    np.testing.assert_array_equal(normal(1000, 3), normal(100_000, 3)[:1000])
    first, other = normal(100_000, 3), normal(100_000, 1_000_003)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.02
    assert np.isfinite(normal(100_000, 2**31 - 5)).all()  # the sum of both overflows


def test_noise_is_relative_to_the_spread_of_the_image() -> None:
    image = random_image((200, 200), 3).astype(np.float32)
    added = applied("noise", image, std=0.2, seed=7) - image
    assert added.std() == pytest.approx(0.2 * image.std(), rel=0.01)
    np.testing.assert_array_equal(applied("noise", image, std=0.2, seed=7) - image, added)
    assert not np.array_equal(applied("noise", image, std=0.2, seed=8) - image, added)


def test_blur_spreads_a_pixel_by_its_sigma() -> None:
    image = np.zeros((41, 41, 1), np.float32)
    image[20, 20] = 1000
    blurred = applied("blur", image, sigma=2.0)[..., 0]
    at = np.arange(41) - 20
    assert blurred.sum() == pytest.approx(1000, rel=1e-4)
    for axis in (0, 1):
        variance = (blurred.sum(axis=axis) * at**2).sum() / 1000
        assert np.sqrt(variance) == pytest.approx(2, rel=0.03)  # 3 % are beyond 3 sigma
    np.testing.assert_allclose(blurred, blurred[::-1, ::-1], atol=1e-4)
    level = np.full((9, 9, 2), 77, np.float32)
    np.testing.assert_allclose(applied("blur", level, sigma=3.0), level, rtol=1e-5)


def test_low_resolution_keeps_pixels_and_is_linear_between() -> None:
    image = random_image((9, 9), 2).astype(np.float32)
    third = applied("low_resolution", image, scale=1 / 3)
    np.testing.assert_allclose(third[1::3, 1::3], image[1::3, 1::3], atol=1e-3)
    between = (2 * image[1, 1] + image[1, 4]) / 3
    np.testing.assert_allclose(third[1, 2], between, atol=1e-3)
    np.testing.assert_allclose(third[0, 0], image[1, 1], atol=1e-3)


@pytest.mark.parametrize("scale", [0.9, 0.5, 0.37, 0.01])
def test_low_resolution_is_what_its_neighbours_say(scale: float) -> None:
    """The device works with `sampled_neighbours`: the same image."""
    image = random_image((33, 50), 3).astype(np.float32)
    expected = image
    for axis, length in enumerate(image.shape[:2]):
        low, high, weight = sampled_neighbours(length, max(1, round(length * scale)))
        share = weight.reshape([-1 if i == axis else 1 for i in range(3)])
        expected = expected.take(low, axis) * (1 - share) + expected.take(high, axis) * share
    result = applied("low_resolution", image, scale=scale)
    np.testing.assert_allclose(result, expected, atol=5e-3)


def test_sharpening_is_its_filter() -> None:
    image = np.zeros((5, 5, 1), np.float32)
    image[2, 2] = 10
    result = applied("sharpening", image, k=1.0)[..., 0]
    expected = np.zeros((5, 5))
    expected[1:4, 1:4] = -10
    expected[2, 2] = 90
    np.testing.assert_allclose(result, expected)


def test_contrast_keeps_the_mean() -> None:
    image = random_image((20, 20)).astype(np.float32)
    result = applied("contrast", image, factor=0.5)
    assert result.mean() == pytest.approx(image.mean(), rel=1e-5)
    assert result.std() == pytest.approx(0.5 * image.std(), rel=1e-4)


def test_gamma_of_the_image_and_of_its_negative() -> None:
    values = np.array([[[0.0], [63.75], [255.0]]])
    dark = applied("gamma", values, exponent=2.0)
    np.testing.assert_allclose(dark.ravel(), [0, 255 / 16, 255], atol=1e-3)
    bright = applied("gamma", values, exponent=2.0, inverted=1.0)
    np.testing.assert_allclose(bright.ravel(), [0, 255 * (1 - 0.75**2), 255], atol=1e-3)


def test_brightness_is_that_of_the_originals() -> None:
    image = np.array([[[0], [100], [250]]], np.uint8)
    brighten = Adjustment("brightness", {"factor": 1.2, "offset": 10})
    assert adjust(image, [brighten]).ravel().tolist() == [10, 130, 255]
    darken = Adjustment("brightness", {"factor": 1.0, "offset": -50})
    assert adjust(image, [darken]).ravel().tolist() == [50, 50, 200]


def test_darker_than_black_does_not_become_bright() -> None:
    image = np.tile(np.arange(256, dtype=np.uint8), (4, 1))[..., None]
    steps = [Adjustment("contrast", {"factor": 1.5}), Adjustment("brightness", {"factor": 1.1})]
    row = adjust(image, steps)[0, :, 0].astype(int)
    assert row[0] == 0 and (np.diff(row) >= 0).all()


def test_adjustments_are_done_in_their_order_and_cut_once() -> None:
    image = np.full((2, 2, 1), 200, np.uint8)
    up, down = (Adjustment("brightness", {"factor": f}) for f in (2.0, 0.5))
    assert (adjust(image, [up, down]) == 200).all()  # 400 in between
    offset = Adjustment("brightness", {"factor": 1.0, "offset": 20})
    assert (adjust(image, [offset, down]) == 110).all()
    assert (adjust(image, [down, offset]) == 120).all()


def test_the_table_gives_what_the_values_give() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(8, 16, 2)
    steps = [
        Adjustment("gamma", {"exponent": 0.7, "inverted": 1.0}),
        Adjustment("brightness", {"factor": 1.1}),
    ]
    values = adjust(image.astype(np.float32), steps)
    np.testing.assert_array_equal(adjust(image, steps), np.rint(values).astype(np.uint8))


def test_a_window_becomes_the_whole_range() -> None:
    image = np.array([[[25.5], [127.5], [229.5]]])
    stretched = applied("window", image, low=0.1, high=0.9)
    np.testing.assert_allclose(stretched.ravel(), [0, 127.5, 255], atol=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_a_curve_rises_from_black_to_white_for_all_channels_or_each(seed: int) -> None:
    image = np.arange(256)[None, :, None].repeat(3, axis=2)
    alike = applied("curve", image, strength=1.0, seed=seed)[0]
    np.testing.assert_allclose(alike[[0, -1], 0], [0, 255], atol=1e-3)
    assert (np.diff(alike, axis=0) > -1e-3).all()
    np.testing.assert_array_equal(alike[:, 0], alike[:, 2])
    apart = applied("curve", image, strength=1.0, seed=seed, separate=1.0)[0]
    assert np.abs(apart[:, 0] - apart[:, 2]).max() > 3
    negative = applied("curve", 255 - image, strength=1.0, seed=seed, inverted=1.0)[0]
    np.testing.assert_allclose(negative, alike, atol=1e-3)


def test_channels_with_curves_of_their_own_go_through_tables() -> None:
    image = random_image((20, 20), 3)
    change = [Adjustment("curve", {"strength": 1.0, "separate": 1.0, "seed": 5})]
    expected = adjust(image.astype(np.float32), change)
    np.testing.assert_allclose(adjust(image, change), expected, atol=0.501)


def test_mixed_colors_are_linear_and_shift_by_the_contrast_of_the_image() -> None:
    image = 100 + random_image((30, 30), 3).astype(np.float32) / 10
    mixed = applied("color", image, strength=0.2, seed=3)
    mean = image.mean(axis=(0, 1))
    numbers = 0.2 * normal(12, 3).reshape(4, 3)
    np.testing.assert_allclose(mixed.mean(axis=(0, 1)) - mean, image.std() * numbers[3], atol=1e-3)
    expected = (image[4, 7] - mean) @ (np.eye(3) + numbers[:3])
    np.testing.assert_allclose(
        mixed[4, 7] - mixed.mean(axis=(0, 1)), expected, rtol=1e-3, atol=0.01
    )


def test_a_stain_is_multiplied_in_optical_density() -> None:
    """Pure haematoxylin of any amount stays pure haematoxylin; white stays white."""
    haematoxylin = np.array([0.65, 0.70, 0.29]) / np.linalg.norm([0.65, 0.70, 0.29])
    image = 256 * np.exp(-np.outer([0.0, 0.5, 1.0], haematoxylin))[None] - 1
    stained = applied("stain", image, strength=0.4, seed=11)
    factor = np.exp(0.4 * normal(6, 11)[0])
    expected = 256 * np.exp(-np.outer([0.0, 0.5, 1.0], factor * haematoxylin))[None] - 1
    np.testing.assert_allclose(stained, expected, atol=0.01)
    tinted = applied("stain", image, strength=0.0, offset=0.3, seed=11)
    assert np.abs(tinted[0, 0] - 255).max() > 5


def test_a_bias_field_is_smooth_and_alike_for_all_channels() -> None:
    level = np.full((40, 60, 2), 100, np.float32)
    field = applied("bias", level, strength=0.3, seed=4)
    np.testing.assert_array_equal(field[..., 0], field[..., 1])
    assert np.ptp(field) > 10
    log = np.log(field[..., 0])
    assert log.mean() == pytest.approx(np.log(100), abs=0.05)
    assert np.abs(np.diff(log, n=3, axis=0)).max() < 1e-4  # of degree 2
