"""Coordinate maps: borders, orders, and steps on known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from augment_contract import random_image, random_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flexseg.augment.fields import (
    Affine,
    Border,
    Displacement,
    Radial,
    coordinates,
    field,
    identity,
    merged,
    warp,
)

numbers = st.floats(-2, 2, width=32)
affines = st.builds(
    Affine, st.tuples(*[st.tuples(numbers, numbers, st.floats(-20, 20, width=32))] * 2)
)


def shift(x: float, y: float) -> Affine:
    """Each pixel looks `x` to the right and `y` down."""
    return Affine(((1, 0, x), (0, 1, y)))


def test_identity_holds_x_before_y() -> None:
    where = identity((2, 3))
    assert where.dtype == np.float32
    np.testing.assert_array_equal(where[..., 0], [[0, 1, 2], [0, 1, 2]])
    np.testing.assert_array_equal(where[..., 1], [[0, 0, 0], [1, 1, 1]])


def test_no_steps_give_the_same_pixels() -> None:
    image, labels = random_image((5, 6)), random_labels((5, 6), [0, 1])
    warped, moved = warp(image, labels, ())
    np.testing.assert_array_equal(warped, image)
    np.testing.assert_array_equal(moved, labels)


@pytest.mark.parametrize(
    ("border", "pixels", "classes"),
    [
        ("constant", [30, 40, 50, 0, 0], [3, 4, 5, 0, 0]),
        ("edge", [30, 40, 50, 50, 50], [3, 4, 5, 5, 5]),
        ("reflect", [30, 40, 50, 40, 30], [3, 4, 5, 4, 3]),
        ("pixel", [30, 40, 50, 30, 30], [0, 4, 5, 0, 0]),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_lies_outside(
    border: Border, pixels: list[int], classes: list[int], channels: int, dtype: type
) -> None:
    row = np.array([10, 20, 30, 40, 50], dtype)
    image = np.stack([np.tile(row + c, (5, 1)) for c in range(channels)], axis=-1)
    labels = np.tile(np.arange(1, 6, dtype=np.uint8), (5, 1))
    if border == "pixel":
        labels[:, 2] = 0
    still = Displacement(np.zeros((2, 2, 2), np.float32))
    for steps in ([shift(2, 0)], [shift(2, 0), still]):
        warped, moved = warp(image, labels, steps, border=border)
        np.testing.assert_array_equal(moved[2], classes)
        for c in range(channels):
            inside = np.array(pixels) > 0 if border == "constant" else np.ones(5, bool)
            np.testing.assert_array_equal(warped[2, :, c], np.array(pixels) + c * inside)


def test_a_pixel_of_an_object_is_not_repeated() -> None:
    """An object at the pixel [2, 2] would fill the border, which is no object."""
    image, labels = np.full((6, 6, 3), 9, np.uint8), np.ones((6, 6), np.uint8)
    warped, moved = warp(image, labels, [shift(3, 0)], border="pixel")
    assert (moved[0].tolist(), warped[0, :, 1].tolist()) == ([1, 1, 1, 0, 0, 0], [9, 9, 9, 0, 0, 0])


@pytest.mark.parametrize("border", ["constant", "pixel"])
def test_beyond_an_ignored_corner_all_is_ignored(border: Border) -> None:
    """As beyond the field of view: what an image does not show counts in nothing."""
    image, labels = np.full((6, 6, 1), 9, np.uint8), np.full((6, 6), 255, np.uint8)
    labels[4:, 4:] = 1
    _, moved = warp(image, labels, [shift(3, 0)], border=border)
    assert moved[5].tolist() == [255, 1, 1, 255, 255, 255]


def test_steps_are_done_in_their_order() -> None:
    image, labels = random_image((9, 9)), random_labels((9, 9), [0, 1])
    hflip = Affine(((-1, 0, 8), (0, 1, 0)))
    both, _ = warp(image, labels, [shift(2, 0), hflip], border="constant")
    expected = np.zeros_like(image)
    expected[:, :7] = image[:, 2:]
    np.testing.assert_array_equal(both, expected[:, ::-1])


@given(affines, affines, affines)
@settings(max_examples=50, deadline=None)
def test_affine_steps_join_to_one(a: Affine, b: Affine, c: Affine) -> None:
    (joined,) = merged([a, b, c])
    size = (7, 9)
    one_by_one = a.map(b.map(c.map(identity(size), size), size), size)
    np.testing.assert_allclose(joined.map(identity(size), size), one_by_one, atol=1e-2)


def test_other_steps_are_not_joined() -> None:
    radial = Radial((4, 4), 3, 0.5)
    steps = [shift(1, 0), shift(1, 0), radial, shift(1, 0)]
    assert merged(steps) == [shift(2, 0), radial, shift(1, 0)]


def test_field_is_where_pixels_look_from_where_they_are() -> None:
    np.testing.assert_array_equal(field([shift(1.5, -2)], (4, 5)), np.full((4, 5, 2), [1.5, -2]))


def test_radial_is_its_formula() -> None:
    center, radius, amount = (7.3, 9.0), 6.5, 0.7
    result = Radial(center, radius, amount).map(identity((20, 20)), (20, 20))
    for y in range(20):
        for x in range(20):
            dx, dy = x - center[0], y - center[1]
            r = np.hypot(dx, dy)
            factor = np.sin(np.pi * r / (2 * radius)) ** amount if r < radius else 1
            np.testing.assert_allclose(
                result[y, x], [center[0] + dx * factor, center[1] + dy * factor], atol=1e-4
            )


@pytest.mark.parametrize("amount", [-3.0, -0.5, 0.5])
def test_radial_is_finite_at_its_centre(amount: float) -> None:
    result = Radial((8, 8), 5, amount).map(identity((16, 16)), (16, 16))
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(result[8, 8], [8, 8])


def test_displacement_is_exact_at_its_nodes_and_linear_between() -> None:
    # 4 x 2 nodes over 8 x 8 pixels: their centres lie at rows 0.5, 2.5, ... and columns 1.5, 5.5.
    grid = np.zeros((4, 2, 2), np.float32)
    grid[..., 0] = [[0, 4]] * 4
    grid[..., 1] = [[0, 0], [2, 2], [4, 4], [6, 6]]
    size = (8, 8)
    displacement = field([Displacement(grid)], size)
    np.testing.assert_allclose(
        displacement[3, :, 0], np.clip((np.arange(8) - 1.5), 0, 4), atol=4 / 64
    )
    np.testing.assert_allclose(
        displacement[:, 3, 1], np.clip((np.arange(8) - 0.5), 0, 6), atol=2 / 64
    )


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)),
    st.sampled_from(["constant", "edge", "reflect", "pixel"]),
)
@settings(max_examples=30, deadline=None)
def test_tiny_images(labels: np.ndarray, border: Border) -> None:
    image = labels[..., None].repeat(3, axis=-1)
    radial = Radial((1, 1), 3, 0.5)
    warped, moved = warp(image, labels, [shift(0.0, 0.0), radial, shift(40, -70)], border=border)
    assert warped.shape == image.shape and moved.shape == labels.shape
    allowed = {*np.unique(labels), *([0] if border in ("constant", "pixel") else [])}
    assert set(np.unique(moved)) <= allowed


def test_positions_are_precise_to_a_64th_of_a_pixel() -> None:
    size = (60, 80)
    where = identity(size)
    steps = [Affine(((0.91, 0.13, 1.7), (-0.08, 0.95, 3.1))), Radial((40, 30), 25, 0.4)]
    expected = coordinates(steps, size)
    inside = ((expected > 1) & (expected < np.array([78, 58]))).all(axis=-1)
    warped, _ = warp(where, np.zeros(size, np.uint8), steps)  # an image of its own coordinates
    np.testing.assert_allclose(warped[inside], expected[inside], atol=1 / 60)
    assert inside.mean() > 0.8


def test_lines_of_one_pixel_survive() -> None:
    size, labels = (65, 65), np.zeros((65, 65), np.uint8)
    labels[:, 32] = 1
    for angle in (0.0, 10.0, 25.0):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turn = Affine(((c, -s, 32 - 32 * c + 32 * s), (s, c, 32 - 32 * s - 32 * c)))
        _, moved = warp(random_image(size), labels, [turn], border="edge")
        # One pixel wide across the line, so 1 / cos along a row: one or two in each.
        assert set(moved.sum(axis=1)) <= {1, 2}
        assert moved.sum() == pytest.approx(65 / c, rel=0.1)


def test_read_only_and_mapped_pixels_are_taken(tmp_path: Path) -> None:
    stored = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (2, 9, 11, 6))
    stored[:] = random_image((9, 11), 6)
    stored.flush()
    image = np.load(tmp_path / "x.npy", mmap_mode="r")[1]
    labels = image[..., 0]  # neither contiguous nor writable
    hflip = Affine(((-1, 0, 10), (0, 1, 0)))
    warped, moved = warp(image, labels, [hflip])
    np.testing.assert_array_equal(warped, image[:, ::-1])
    np.testing.assert_array_equal(moved, labels[:, ::-1])
