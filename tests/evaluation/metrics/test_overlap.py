"""Overlap of shapes whose areas are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.evaluation.metrics.counts import PixelCounts, confusion, counts_by_class
from flexseg.evaluation.metrics.overlap import dice, iou, precision, recall, specificity
from flexseg.evaluation.metrics.size import area_error


def _box(top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    labels = np.zeros((60, 80), np.uint8)
    labels[top : top + height, left : left + width] = 1
    return labels


def _disc(radius: float) -> NDArray[np.uint8]:
    y, x = np.mgrid[-200:201, -200:201]
    return (x**2 + y**2 <= radius**2).astype(np.uint8)


def _score(reference: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> PixelCounts:
    return counts_by_class(confusion(reference, prediction, 2))[1]


class TestShiftedBox:
    @pytest.mark.parametrize("shift", [0, 1, 7, 19, 20, 30])
    def test_scores_follow_from_the_common_width(self, shift: int) -> None:
        o = _score(_box(10, 5, 30, 20), _box(10, 5 + shift, 30, 20))
        common = 30 * max(0, 20 - shift)
        assert (o.true_positive, o.false_positive, o.false_negative) == (
            common,
            600 - common,
            600 - common,
        )
        assert dice(o) == pytest.approx(common / 600)
        assert iou(o) == pytest.approx(common / (1200 - common))
        assert precision(o) == recall(o) == pytest.approx(common / 600)

    def test_box_inside_of_a_larger_one(self) -> None:
        o = _score(_box(0, 0, 40, 40), _box(10, 10, 20, 20))
        assert precision(o) == 1
        assert recall(o) == pytest.approx(400 / 1600)
        assert dice(o) == pytest.approx(2 * 400 / 2000)
        assert iou(o) == pytest.approx(400 / 1600)

    def test_prediction_too_large(self) -> None:
        o = _score(_box(10, 10, 20, 20), _box(0, 0, 40, 40))
        assert (precision(o), recall(o)) == (pytest.approx(0.25), 1)


def test_concentric_discs() -> None:
    """Dice 2 r^2 / (r^2 + R^2), up to the pixels of the rim."""
    for inner, outer in ((50, 100), (120, 150), (190, 195)):
        o = _score(_disc(outer), _disc(inner))
        assert dice(o) == pytest.approx(2 * inner**2 / (inner**2 + outer**2), abs=2e-3)
        assert iou(o) == pytest.approx(inner**2 / outer**2, abs=2e-3)
        assert recall(o) == pytest.approx(inner**2 / outer**2, abs=2e-3)
        assert precision(o) == 1


class TestStatus:
    nothing = np.zeros((60, 80), np.uint8)
    box = _box(1, 2, 3, 4)

    def test_scored(self) -> None:
        o = _score(self.box, _box(40, 40, 3, 4))
        assert o.status == "scored"
        assert dice(o) == iou(o) == precision(o) == recall(o) == 0

    def test_missed(self) -> None:
        o = _score(self.box, self.nothing)
        assert o.status == "missed"
        assert dice(o) == iou(o) == recall(o) == 0
        assert math.isnan(precision(o))
        assert (o.reference, o.prediction) == (12, 0)

    def test_false_positive(self) -> None:
        o = _score(self.nothing, self.box)
        assert o.status == "false positive"
        assert dice(o) == iou(o) == precision(o) == 0
        assert math.isnan(recall(o))
        assert (o.reference, o.prediction) == (0, 12)

    def test_absent(self) -> None:
        o = _score(self.nothing, self.nothing)
        assert o.status == "absent"
        assert all(math.isnan(v) for v in (dice(o), iou(o), precision(o), recall(o)))


def test_specificity_and_area_error() -> None:
    o = _score(_box(0, 0, 40, 40), _box(10, 10, 20, 20))
    assert (specificity(o), area_error(o)) == (1, pytest.approx(400 / 1600 - 1))
    o = _score(_box(10, 10, 20, 20), _box(0, 0, 40, 40))
    assert specificity(o) == pytest.approx(1 - 1200 / (60 * 80 - 400))
    assert area_error(o) == pytest.approx(3)
    full = np.ones((60, 80), np.uint8)
    assert math.isnan(specificity(_score(full, full)))
    assert math.isnan(area_error(_score(1 - full, full)))
