"""Which network fits the images and the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.planning.network import (
    ENOUGH_IMAGES,
    PLENTY_OF_IMAGES,
    fit_to_time,
    natural_shape,
    shape_of,
)


@pytest.mark.parametrize(
    ("size", "cases", "expected"),
    [
        ((120, 120), 200, (128, 128, 5, 8)),
        ((64, 64), 5000, (64, 64, 4, 32)),
        ((256, 256), 300, (256, 256, 6, 2)),
        ((256, 192), 300, (256, 192, 6, 2)),
        ((2000, 1000), 300, (512, 256, 6, 2)),
        ((5000, 20), 300, (512, 32, 3, 8)),
        ((20, 20), 300, (32, 32, 3, 32)),
        ((64, 64), 12, (64, 64, 4, 3)),
    ],
)
def test_images_of_a_size_get_a_network_of_that_size(
    size: tuple[int, int], cases: int, expected: tuple[int, int, int, int]
) -> None:
    shape = natural_shape(*size, cases)
    assert (shape.width, shape.height, shape.levels, shape.batch) == expected
    assert shape.filters == 16


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 100_000))
def test_any_size_can_be_halved_to_the_deepest_level(width: int, height: int, cases: int) -> None:
    shape = natural_shape(width, height, cases)
    for side in (shape.width, shape.height):
        assert side % 2 ** (shape.levels - 1) == 0
    assert min(shape.width, shape.height) // 2 ** (shape.levels - 1) >= 4
    assert max(shape.width, shape.height) <= 512
    assert 2 <= shape.batch <= 32


def test_enough_time_keeps_the_natural_size() -> None:
    natural = natural_shape(256, 256, 300)
    shape, why, _ = fit_to_time(natural, 0.05, 0.05 * ENOUGH_IMAGES, None, 300)
    assert shape == natural
    assert "own size" in why


def test_little_time_shrinks_until_enough_images_are_seen() -> None:
    natural = natural_shape(256, 256, 300)
    shape, why, _ = fit_to_time(natural, 0.05, 0.05 * ENOUGH_IMAGES / 4, None, 300)
    assert (shape.width, shape.height) == (128, 128)
    assert "1,000 images" in why


def test_small_objects_keep_the_images_from_shrinking() -> None:
    natural = natural_shape(256, 256, 300)
    shape, why, _ = fit_to_time(natural, 1.0, 60.0, 5.0, 300)
    assert (shape.width, shape.height) == (256, 256)
    assert "small objects" in why


def test_much_time_makes_the_network_wider() -> None:
    natural = natural_shape(64, 64, 300)
    shape, _, why = fit_to_time(natural, 0.001, 0.001 * PLENTY_OF_IMAGES, None, 300)
    assert shape.filters == 2 * natural.filters
    assert "twice as wide" in why


@given(st.floats(1e-4, 10), st.floats(10, 1e5), st.none() | st.floats(1, 100))
def test_always_a_network(seconds_per_image: float, seconds: float, breadth: float | None) -> None:
    natural = natural_shape(300, 200, 100)
    shape, why, filters = fit_to_time(natural, seconds_per_image, seconds, breadth, 100)
    assert 32 <= min(shape.width, shape.height) <= max(shape.width, shape.height) <= 304
    assert why
    assert filters


def test_shape_of_few_cases_has_small_batches() -> None:
    assert shape_of(64, 64, 4).batch == 2
