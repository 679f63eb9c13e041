"""Which network fits the images and the time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.planning.network import (
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


def all_kept(width: int, height: int) -> float:
    """Masks of large objects."""
    return 1 - 40 / min(width, height) ** 2


def fine(width: int, height: int) -> float:
    """Masks of lines, which nothing but the images' own size keeps."""
    return min(1.0, min(width, height) / 256)


def test_enough_time_keeps_the_natural_size() -> None:
    natural = natural_shape(256, 256, 300)
    shape, why, _ = fit_to_time(natural, 0.05, 2500.0, fine, 300)
    assert shape == natural
    assert why == "256 x 256: masks keep a Dice of 1.000, time for 50,000 images"


def test_large_objects_are_seen_small_so_that_more_images_are_seen() -> None:
    natural = natural_shape(512, 512, 300)
    shape, why, _ = fit_to_time(natural, 0.25, 480.0, all_kept, 300)
    assert (shape.width, shape.height, shape.batch) == (96, 96, 16)
    assert "time for 54,613 images" in why
    assert "at the images' own size, 512 x 512" in why


def test_lines_keep_the_images_from_shrinking() -> None:
    natural = natural_shape(256, 256, 300)
    shape, _, _ = fit_to_time(natural, 0.25, 120.0, fine, 300)
    assert (shape.width, shape.height) == (256, 256)


def test_more_time_never_makes_the_images_smaller() -> None:
    natural = natural_shape(512, 384, 300)
    sizes = [
        fit_to_time(natural, 0.2, 2.0**n, lambda w, h: 1 - 16 / min(w, h), 300)[0].pixels
        for n in range(2, 16)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] == natural.pixels


def test_much_time_makes_the_network_wider() -> None:
    natural = natural_shape(64, 64, 300)
    shape, _, why = fit_to_time(natural, 0.001, 0.001 * PLENTY_OF_IMAGES, fine, 300)
    assert shape.filters == 2 * natural.filters
    assert "twice as wide" in why


@given(st.floats(1e-4, 10), st.floats(10, 1e5), st.floats(0, 1))
def test_always_a_network(seconds_per_image: float, seconds: float, kept: float) -> None:
    natural = natural_shape(300, 200, 100)
    shape, why, filters = fit_to_time(
        natural, seconds_per_image, seconds, lambda width, height: kept, 100
    )
    assert 32 <= min(shape.width, shape.height) <= max(shape.width, shape.height) <= 304
    assert why
    assert filters


def test_shape_of_few_cases_has_small_batches() -> None:
    assert shape_of(64, 64, 4).batch == 2
