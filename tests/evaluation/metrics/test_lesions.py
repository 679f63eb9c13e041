"""Lesions found, missed and invented."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.evaluation.metrics.lesions import find_lesions, totals
from overlapping_discs import discs


def _squares(*places: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Squares (row, column, side) in 40 x 40."""
    mask = np.zeros((40, 40), bool)
    for row, column, side in places:
        mask[row : row + side, column : column + side] = True
    return mask


def test_one_common_pixel() -> None:
    reference = _squares((0, 0, 5), (10, 10, 3), (30, 30, 2))
    prediction = _squares((4, 4, 4), (10, 10, 3), (0, 30, 6), (20, 0, 1))
    lesions = find_lesions(reference, prediction, iou=0)
    assert lesions.sizes.tolist() == [25, 9, 4]
    assert lesions.found.tolist() == [True, True, False]
    assert (lesions.predicted, lesions.false) == (4, 2)
    assert lesions.recall == pytest.approx(2 / 3)
    assert lesions.precision == pytest.approx(2 / 4)
    assert lesions.f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))


def test_one_prediction_may_cover_several() -> None:
    lesions = find_lesions(_squares((0, 0, 2), (5, 5, 2)), _squares((0, 0, 10)), iou=0)
    assert (lesions.recall, lesions.precision, lesions.predicted) == (1, 1, 1)


def test_corners_connect() -> None:
    diagonal = np.eye(4, dtype=bool)
    assert find_lesions(diagonal, diagonal).reference == 1
    volume = np.zeros((2, 2, 2), bool)
    volume[0, 0, 0] = volume[1, 1, 1] = True
    assert find_lesions(volume, volume).reference == 1


class TestNothingThere:
    nothing, square = _squares(), _squares((3, 3, 3))

    def test_both_empty(self) -> None:
        lesions = find_lesions(self.nothing, self.nothing)
        assert all(math.isnan(v) for v in (lesions.precision, lesions.recall, lesions.f1))

    def test_only_false(self) -> None:
        lesions = find_lesions(self.nothing, self.square)
        assert (lesions.false, lesions.precision, lesions.f1) == (1, 0, 0)
        assert math.isnan(lesions.recall)

    def test_missed(self) -> None:
        lesions = find_lesions(self.square, self.nothing)
        assert (lesions.hits, lesions.recall, lesions.f1) == (0, 0, 0)
        assert math.isnan(lesions.precision)

    def test_beside_each_other(self) -> None:
        lesions = find_lesions(self.square, _squares((20, 20, 3)))
        assert (lesions.precision, lesions.recall, lesions.f1, lesions.false) == (0, 0, 0, 1)


def test_totals_by_size() -> None:
    cases = [
        find_lesions(_squares((0, 0, 1), (5, 5, 3), (20, 20, 10)), _squares((6, 6, 1)), iou=0),
        find_lesions(_squares(), _squares((6, 6, 1), (9, 9, 1)), iou=0),
        find_lesions(_squares((0, 0, 3)), _squares((0, 0, 3)), iou=0),
    ]
    found = totals(cases, [9, 100])
    assert (found.reference, found.found, found.missed, found.false) == (4, 2, 2, 2)
    assert found.false_per_case == pytest.approx(2 / 3, abs=1e-6)
    assert found.as_dict()["by_size"] == [
        {"from_px": 1, "to_px": 8, "reference": 1, "found": 0},
        {"from_px": 9, "to_px": 99, "reference": 2, "found": 2},
        {"from_px": 100, "to_px": None, "reference": 1, "found": 0},
    ]


class TestOverlap:
    """IoU of the objects, or of small ones their centres."""

    def test_a_common_pixel_is_not_enough(self) -> None:
        lesions = find_lesions(_squares((0, 0, 10)), _squares((9, 9, 10)))
        assert (lesions.hits, lesions.false, lesions.f1) == (0, 1, 0)

    @pytest.mark.parametrize(("shift", "hits"), [(3, 1), (4, 0)])
    def test_limit(self, shift: int, hits: int) -> None:
        """Squares of 10 x 10 moved by 3 share 70 of 130 pixels, by 4 60 of 140."""
        moved = np.roll(_squares((5, 5, 10)), shift, axis=1)
        assert find_lesions(_squares((5, 5, 10)), moved).hits == hits
        assert find_lesions(_squares((5, 5, 10)), moved, iou=60 / 140).hits == 1

    def test_one_prediction_finds_one_object(self) -> None:
        """Of two squares that one object covers, only the larger is half of it."""
        reference = _squares((0, 0, 8), (0, 9, 4))
        lesions = find_lesions(reference, _squares((0, 0, 8), (0, 8, 5)) | reference)
        assert lesions.predicted == 1
        assert (lesions.found.tolist(), lesions.false) == ([True, False], 0)

    def test_pieces_of_an_object(self) -> None:
        """An object in two pieces: the larger has found it, the smaller is false."""
        pieces = _squares((0, 0, 10))
        pieces[:, 7] = False
        lesions = find_lesions(_squares((0, 0, 10)), pieces)
        assert (lesions.hits, lesions.predicted, lesions.false) == (1, 2, 1)

    def test_small_objects_go_by_their_centres(self) -> None:
        """Moved along the diagonal, 3 x 3 pixels have an IoU of 4 / 14, but hold the centre."""
        reference, moved = _squares((5, 5, 3)), _squares((6, 6, 3))
        assert find_lesions(reference, moved).hits == 1
        assert find_lesions(reference, _squares((7, 7, 3))).hits == 0

    def test_small_of_large(self) -> None:
        """A speck in the centre of a large object has not found it."""
        lesions = find_lesions(_squares((5, 5, 11)), _squares((9, 9, 3)))
        assert (lesions.hits, lesions.false) == (0, 1)

    def test_volumes_are_small_to_125_voxels(self) -> None:
        reference, moved = np.zeros((2, 12, 12, 12), bool)
        reference[2:7, 2:7, 2:7] = moved[3:8, 3:8, 3:8] = True
        assert find_lesions(reference, moved).hits == 1
        reference[1, 2, 2] = True
        assert find_lesions(reference, moved).hits == 0

    @pytest.mark.parametrize("seed", range(5))
    def test_against_segauge(self, seed: int) -> None:
        """The package `segauge` (Apache-2.0), which has no rule for small objects."""
        library = pytest.importorskip("segauge")
        reference, prediction = discs(seed)
        for iou in (0.1, 0.5):
            theirs = library.detection_scores(prediction, reference, iou, connectivity=2)
            ours = find_lesions(reference, prediction, iou)
            assert (ours.hits, ours.false) == (theirs.tp, theirs.fp)
            assert ours.reference - ours.hits == theirs.fn
            assert (ours.precision, ours.recall) == (theirs.precision, theirs.recall)
            assert ours.f1 == pytest.approx(theirs.f1)

    @pytest.mark.parametrize(
        ("seed", "hits", "missed", "false"),
        [(0, 8, 8, 11), (1, 7, 8, 9), (2, 9, 8, 6), (3, 7, 12, 14), (4, 9, 7, 11)],
    )
    def test_against_panoptica(self, seed: int, hits: int, missed: int, false: int) -> None:
        """Figures of `panoptica` 2.1.7, see benchmarks/object_counts.py."""
        lesions = find_lesions(*discs(seed))
        assert (lesions.hits, lesions.reference - lesions.hits, lesions.false) == (
            hits,
            missed,
            false,
        )


@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.6), iou=st.sampled_from((0, 0.5)))
@settings(max_examples=50, deadline=None)
def test_counts_are_consistent(seed: int, share: float, iou: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 15, 17)) < share
    lesions, swapped = find_lesions(a, b, iou), find_lesions(b, a, iou)
    assert lesions.sizes.sum() == a.sum()
    assert lesions.reference == swapped.predicted
    # What no prediction finds is a false one when the masks change places.
    assert lesions.reference - lesions.hits == swapped.false
    by_size = totals([lesions], [3, 10]).by_size
    assert sum(b.reference for b in by_size) == lesions.reference
    assert sum(b.found for b in by_size) == lesions.hits
