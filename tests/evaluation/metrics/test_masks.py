"""The pair of masks that metrics see."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flexseg.evaluation.metrics.counts import PixelCounts
from flexseg.evaluation.metrics.masks import MaskPair


def _pair(reference: np.ndarray, spacing: tuple[float, ...]) -> MaskPair:
    return MaskPair(reference, np.zeros_like(reference), PixelCounts(0, 0, 0, 0), spacing, 2.0)


def test_diagonal() -> None:
    image = np.zeros((30, 40), bool)
    assert _pair(image, (1, 1)).diagonal == 50
    assert _pair(image, (2.0, 1.5)).diagonal == pytest.approx(math.hypot(60, 60))


def test_cropped_is_the_box_around_both() -> None:
    reference = np.zeros((30, 40), bool)
    assert [mask.size for mask in _pair(reference, (1, 1)).cropped] == [0, 0]
    reference[3, 5] = True
    prediction = np.zeros_like(reference)
    prediction[10, 2] = True
    pair = MaskPair(reference, prediction, PixelCounts(0, 1, 1, 1198), (1, 1), 2.0)
    left, right = pair.cropped
    assert left.shape == right.shape == (8, 4)
    assert (np.argwhere(left).tolist(), np.argwhere(right).tolist()) == ([[0, 3]], [[7, 0]])


def test_what_is_shared_is_computed_once() -> None:
    calls = []

    def area(pair: MaskPair) -> int:
        calls.append(pair)
        return int(pair.reference.sum())

    pair = _pair(np.ones((3, 4), bool), (1, 1))
    assert (pair.shared(area), pair.shared(area), len(calls)) == (12, 12, 1)
