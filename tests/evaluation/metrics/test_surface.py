"""Distances between surfaces: closed forms, a slow second way, and the field's own package."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from flexseg.evaluation.metrics.surface import (
    SurfaceScores,
    element_sizes,
    surface_elements,
    surface_scores,
)

ROOT2 = math.sqrt(2)


def _box(top: int, left: int, height: int, width: int) -> NDArray[np.bool_]:
    mask = np.zeros((60, 80), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def _ball(radius: float, spacing: tuple[float, ...], reach: float) -> NDArray[np.bool_]:
    """A disc or sphere of `radius` in units of length, in an image that reaches to +-`reach`."""
    axes = [np.arange(-int(reach / s), int(reach / s) + 1) * s for s in spacing]
    return sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")) <= radius**2


def _length(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> float:
    return float(surface_elements(mask, spacing)[1].sum())


def _random_shape(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Blobs of smoothed noise, sometimes with speckles."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.5, 3))
    mask = noise > np.quantile(noise, rng.uniform(0.5, 0.97))
    return mask if mask.any() else ~mask


class TestShiftedBox:
    @pytest.mark.parametrize("shift", [0, 1, 3, 8])
    @pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0)])
    def test_in_closed_form(self, shift: int, spacing: tuple[float, float]) -> None:
        """Left edge: the shift; right edge: to the nearest edge; top and bottom: a triangle."""
        height, width, (row, column) = 20, 30, spacing
        scores = surface_scores(
            _box(10, 5, height, width), _box(10, 5 + shift, height, width), spacing, 1.0
        )
        corner = math.hypot(row, column) / 2
        s = shift * column
        left = s * ((height - 1) * row + 2 * corner)
        right = sum(min(s, i * row, (height - i) * row) for i in range(1, height)) * row
        flat = 2 * sum((shift - i) * column for i in range(1, shift)) * column
        total = 2 * (height - 1) * row + 2 * (width - 1) * column + 4 * corner
        assert scores.assd == pytest.approx((left + right + flat) / total)
        assert scores.hd95 == pytest.approx(s)
        assert (scores.nsd == 1) == (s <= 1)

    def test_surface_dice_counts_the_share_within_the_tolerance(self) -> None:
        """A square grown by 5 on one side: that side, and 2 x 3 of the others, are too far."""
        scores = surface_scores(_box(10, 10, 20, 20), _box(10, 10, 20, 25), (1, 1), 2.0)
        short = 4 * 19 + 4 * ROOT2 / 2
        long = short + 2 * 5
        # Reference: its right side between rows 3 and 17 is inside, farther than 2 from all.
        far_reference = 15
        # Prediction: its right side with both corners, and the last 2 of 5 steps to it.
        far_prediction = 19 + ROOT2 + 2 * 2
        expected = 1 - (far_reference + far_prediction) / (short + long)
        assert scores.nsd == pytest.approx(expected)


class TestDiscs:
    def test_concentric(self) -> None:
        scores = surface_scores(_ball(40, (1, 1), 60), _ball(50, (1, 1), 60), (1, 1), 8.0)
        assert scores.hd95 == pytest.approx(10, abs=0.8)
        assert scores.assd == pytest.approx(10, abs=0.6)
        assert scores.nsd == 0
        far = surface_scores(_ball(40, (1, 1), 60), _ball(50, (1, 1), 60), (1, 1), 11.0)
        assert far.nsd == 1

    @pytest.mark.parametrize(("inner", "outer"), [(20, 50), (40, 60)])
    def test_ring_against_disc(self, inner: int, outer: int) -> None:
        """The inner contour has no counterpart: distance b - a on a share a / (a + b) of it."""
        disc = _ball(outer, (1, 1), 70)
        scores = surface_scores(disc & ~_ball(inner, (1, 1), 70), disc, (1, 1), 2.0)
        assert scores.hd95 == pytest.approx(outer - inner, abs=1)
        assert scores.assd == pytest.approx(inner * (outer - inner) / (inner + 2 * outer), rel=0.03)
        assert scores.nsd == pytest.approx(2 * outer / (inner + 2 * outer), abs=0.01)

    def test_a_few_far_points_do_not_move_the_95th_percentile(self) -> None:
        disc = _ball(50, (1, 1), 100)
        speckled = disc.copy()
        speckled[0, 0] = True
        scores = surface_scores(disc, speckled, (1, 1), 2.0)
        assert scores.hd95 == 0
        assert 0 < scores.assd < 2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (0.8, 1.5, 2.5)])
def test_anisotropic_spheres(spacing: tuple[float, float, float]) -> None:
    """Concentric spheres of 14 and 20 mm: 6 mm apart, up to the size of a voxel."""
    small, large = _ball(14, spacing, 25), _ball(20, spacing, 25)
    scores = surface_scores(small, large, spacing, 3.0)
    assert scores.hd95 == pytest.approx(6, abs=max(spacing) / 2 + 0.5)
    assert scores.assd == pytest.approx(6, abs=max(spacing) / 2 + 0.1)
    assert scores.nsd < 0.03
    assert surface_scores(small, large, spacing, 9.0).nsd == 1


class TestElements:
    def test_sizes_in_closed_form(self) -> None:
        assert _length(np.ones((1, 1), bool), (1, 1)) == pytest.approx(2 * ROOT2)
        assert _length(np.ones((1, 1, 1), bool), (1, 1, 1)) == pytest.approx(math.sqrt(3))
        rectangle = 2 * 4 * 0.5 + 2 * 6 * 2.0 + 4 * math.hypot(0.5, 2) / 2
        assert _length(np.ones((5, 7), bool), (0.5, 2.0)) == pytest.approx(rectangle)
        # A cube of n pixels: faces of (n - 1)^2, bevelled edges, cut corners.
        n, cube = 6, np.ones((6, 6, 6), bool)
        expected = 6 * (n - 1) ** 2 + 12 * (n - 1) * ROOT2 / 2 + 8 * math.sqrt(3) / 8
        assert _length(cube, (1, 1, 1)) == pytest.approx(expected)

    def test_holes_and_the_border_of_the_image_have_surfaces(self) -> None:
        full = np.ones((9, 9), bool)
        hole = full.copy()
        hole[4, 4] = False
        assert _length(hole, (1, 1)) == pytest.approx(_length(full, (1, 1)) + 2 * ROOT2)

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_inside_and_outside_have_one_surface(self, dimensions: int) -> None:
        sizes = element_sizes((0.7, 1.1, 2.3)[:dimensions])
        np.testing.assert_allclose(sizes, sizes[::-1])
        assert sizes[0] == sizes[-1] == 0 and (sizes[1:-1] > 0).all()

    @given(code=st.integers(1, 254), axes=st.permutations([0, 1, 2]), flips=st.integers(0, 7))
    @settings(max_examples=100, deadline=None)
    def test_turned_and_mirrored_alike(self, code: int, axes: list[int], flips: int) -> None:
        spacing = np.array([0.7, 1.1, 2.3])
        corners = list(product((0, 1), repeat=3))
        block = np.array([code >> i & 1 for i in range(8)], bool).reshape(2, 2, 2)
        turned = np.flip(block.transpose(axes), [a for a in range(3) if flips >> a & 1])
        other = sum(int(turned[c]) << i for i, c in enumerate(corners))
        there = element_sizes(tuple(spacing[axes].tolist()))[other]
        assert there == pytest.approx(element_sizes(tuple(spacing.tolist()))[code])


def _by_distance_map(
    a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: tuple[float, ...], tolerance: float
) -> SurfaceScores:
    """The same from distance maps of the image instead of the points of surfaces."""
    grids, sizes = [], []
    for mask in (a, b):
        positions, size = surface_elements(mask, spacing)
        grid = np.zeros([n + 1 for n in mask.shape])
        grid[tuple(positions.T)] = size
        grids.append(grid)
        sizes.append(size)
    maps = [ndimage.distance_transform_edt(grid == 0, sampling=spacing) for grid in grids]
    distances = [maps[1][grids[0] > 0], maps[0][grids[1] > 0]]
    weights = [grids[0][grids[0] > 0], grids[1][grids[1] > 0]]
    percentiles = []
    for d, w in zip(distances, weights, strict=True):
        levels = np.unique(d)
        share = np.array([w[d <= level].sum() for level in levels]) / w.sum()
        percentiles.append(levels[np.argmax(share >= 0.95 - 1e-12)])
    d, w = np.concatenate(distances), np.concatenate(weights)
    near = w[d <= tolerance].sum() / w.sum()
    return SurfaceScores(float(max(percentiles)), float((d * w).sum() / w.sum()), float(near))


@given(seed=st.integers(0, 10_000), dimensions=st.sampled_from([2, 3]))
@settings(max_examples=40, deadline=None)
def test_distance_maps_say_the_same(seed: int, dimensions: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(2, 24, dimensions))
    spacing = tuple(rng.uniform(0.3, 3, dimensions).tolist())
    a, b = _random_shape(rng, shape), _random_shape(rng, shape)
    found = surface_scores(a, b, spacing, 1.5)
    expected = _by_distance_map(a, b, spacing, 1.5)
    assert found.assd == pytest.approx(expected.assd)
    assert found.nsd == pytest.approx(expected.nsd)
    assert found.hd95 == pytest.approx(expected.hd95)
    swapped = surface_scores(b, a, spacing, 1.5)
    assert (swapped.hd95, swapped.assd) == (found.hd95, pytest.approx(found.assd))


class TestSurfaceDistancePackage:
    """The package of the metrics' authors (surface-distance, Apache-2.0)."""

    def test_areas_of_all_neighbourhoods(self) -> None:
        tables = pytest.importorskip("surface_distance.lookup_tables")
        for spacing in ((1.0, 1.0, 1.0), (0.7, 1.9, 3.1)):
            theirs = tables.create_table_neighbour_code_to_surface_area(spacing)
            # Their codes number the corners the other way round.
            order = [int(f"{code:08b}"[::-1], 2) for code in range(256)]
            np.testing.assert_allclose(element_sizes(spacing), theirs[order])
        theirs = tables.create_table_neighbour_code_to_contour_length((0.7, 1.9))
        order = [int(f"{code:04b}"[::-1], 2) for code in range(16)]
        np.testing.assert_allclose(element_sizes((0.7, 1.9)), theirs[order])

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("seed", range(50))
    def test_random_shapes(self, seed: int) -> None:
        package = pytest.importorskip("surface_distance.metrics")
        rng = np.random.default_rng(seed)
        dimensions = 2 + seed % 2
        shape = tuple(rng.integers(12, 90 if dimensions == 2 else 32, dimensions))
        spacing = tuple(rng.uniform(0.3, 4, dimensions).tolist())
        a, b = _random_shape(rng, shape), _random_shape(rng, shape)
        tolerance = float(rng.uniform(0.5, 5))
        theirs = package.compute_surface_distances(a, b, spacing)
        found = surface_scores(a, b, spacing, tolerance)
        assert found.hd95 == pytest.approx(package.compute_robust_hausdorff(theirs, 95), abs=1e-6)
        nsd = package.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert found.nsd == pytest.approx(nsd, abs=1e-6)
        forth, back = package.compute_average_surface_distance(theirs)
        weights = theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()
        assd = np.average([forth, back], weights=weights)
        assert found.assd == pytest.approx(assd, abs=1e-6)


def test_equal_steps_have_equal_lengths_wherever_they_are() -> None:
    """6 pixels of 0.7 mm are within 4.2 mm, at any place of the image."""
    for left in range(40):
        a, b = _box(10, left, 20, 20), _box(10, left + 6, 20, 20)
        assert surface_scores(a, b, (0.7, 0.7), 0.7 * 6).nsd == 1


def test_identical() -> None:
    mask = _box(3, 4, 5, 6)
    assert surface_scores(mask, mask, (1, 1), 0.0) == SurfaceScores(0, 0, 1)


def test_what_has_no_surface_is_refused() -> None:
    with pytest.raises(ValueError, match="empty mask"):
        surface_scores(_box(3, 4, 5, 6), np.zeros((60, 80), bool), (1, 1), 1.0)
    with pytest.raises(ValueError, match="3 spacings"):
        surface_scores(_box(3, 4, 5, 6), _box(3, 4, 5, 6), (1, 1, 1), 1.0)
