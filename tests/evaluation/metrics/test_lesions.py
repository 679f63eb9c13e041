"""Lesions found, missed and invented."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.evaluation.metrics.lesions import find_lesions, totals


def _squares(*places: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Squares (row, column, side) in 40 x 40."""
    mask = np.zeros((40, 40), bool)
    for row, column, side in places:
        mask[row : row + side, column : column + side] = True
    return mask


def test_found_missed_and_false() -> None:
    reference = _squares((0, 0, 5), (10, 10, 3), (30, 30, 2))
    prediction = _squares((4, 4, 4), (10, 10, 3), (0, 30, 6), (20, 0, 1))
    lesions = find_lesions(reference, prediction)
    assert lesions.sizes.tolist() == [25, 9, 4]
    assert lesions.found.tolist() == [True, True, False]
    assert (lesions.predicted, lesions.false) == (4, 2)
    assert lesions.recall == pytest.approx(2 / 3)
    assert lesions.precision == pytest.approx(2 / 4)
    assert lesions.f1 == pytest.approx(2 * (2 / 3) * 0.5 / (2 / 3 + 0.5))


def test_one_prediction_may_cover_several() -> None:
    lesions = find_lesions(_squares((0, 0, 2), (5, 5, 2)), _squares((0, 0, 10)))
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
        find_lesions(_squares((0, 0, 1), (5, 5, 3), (20, 20, 10)), _squares((6, 6, 1))),
        find_lesions(_squares(), _squares((6, 6, 1), (9, 9, 1))),
        find_lesions(_squares((0, 0, 3)), _squares((0, 0, 3))),
    ]
    found = totals(cases, [9, 100])
    assert (found.reference, found.found, found.missed, found.false) == (4, 2, 2, 2)
    assert found.false_per_case == pytest.approx(2 / 3, abs=1e-6)
    assert found.as_dict()["by_size"] == [
        {"from_px": 1, "to_px": 8, "reference": 1, "found": 0},
        {"from_px": 9, "to_px": 99, "reference": 2, "found": 2},
        {"from_px": 100, "to_px": None, "reference": 1, "found": 0},
    ]


@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.6))
@settings(max_examples=50, deadline=None)
def test_counts_are_consistent(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 15, 17)) < share
    lesions, swapped = find_lesions(a, b), find_lesions(b, a)
    assert lesions.sizes.sum() == a.sum()
    assert lesions.reference == swapped.predicted
    # What no prediction finds is a false one when the masks change places.
    assert lesions.reference - lesions.hits == swapped.false
    by_size = totals([lesions], [3, 10]).by_size
    assert sum(b.reference for b in by_size) == lesions.reference
    assert sum(b.found for b in by_size) == lesions.hits
