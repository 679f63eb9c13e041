"""Pixel counts of classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexseg.evaluation.metrics.counts import confusion, counts_by_class
from flexseg.evaluation.metrics.overlap import dice, iou


class TestConfusion:
    def test_rows_are_the_reference(self) -> None:
        reference = np.array([[0, 0, 1, 2]], np.uint8)
        prediction = np.array([[0, 2, 1, 1]], np.uint8)
        expected = [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
        np.testing.assert_array_equal(confusion(reference, prediction, 3), expected)

    def test_many_classes_do_not_overflow(self) -> None:
        reference = np.full((1, 5), 254, np.uint8)
        matrix = confusion(reference, reference, 255)
        assert matrix[254, 254] == 5 and matrix.sum() == 5

    @given(
        classes=st.integers(2, 6),
        height=st.integers(1, 9),
        width=st.integers(1, 9),
        seed=st.integers(0, 1000),
    )
    @settings(max_examples=60, deadline=None)
    def test_scores_equal_those_of_sets(
        self, classes: int, height: int, width: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        a, b = rng.integers(0, classes, (2, height, width)).astype(np.uint8)
        for c, o in enumerate(counts_by_class(confusion(a, b, classes))):
            u, v = set(np.flatnonzero(a == c)), set(np.flatnonzero(b == c))
            assert (o.reference, o.prediction) == (len(u), len(v))
            assert o.true_negative == a.size - len(u | v)
            if u or v:
                assert dice(o) == pytest.approx(2 * len(u & v) / (len(u) + len(v)))
                assert iou(o) == pytest.approx(len(u & v) / len(u | v))
                assert dice(o) == pytest.approx(2 * iou(o) / (1 + iou(o)))
            else:
                assert o.status == "absent"
