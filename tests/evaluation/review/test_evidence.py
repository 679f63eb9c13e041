"""What single cases tell."""

from __future__ import annotations

import numpy as np
import pytest

from planted_mistakes import cells, evidence, predicted

TRUE = cells(0)


def test_a_right_annotation() -> None:
    found = evidence("a", TRUE, predicted(TRUE, 0.3))
    assert found.dice > 0.99 and found.agreement > 0.99
    assert found.shift == (0, 0) and found.shifted == found.agreement
    assert not found.doubts and len(found.objects[2][0]) == 3


def test_a_shift_is_measured_in_shares_of_the_picture() -> None:
    wide = np.repeat(np.roll(TRUE, (8, -4), (0, 1)), 2, axis=1)
    p = np.repeat(predicted(TRUE, 0.3), 2, axis=1)
    found = evidence("a", wide, p)
    assert found.shift == (-0.125, 0.0625)
    assert found.shifted > 0.95 > found.agreement


def test_a_missing_object() -> None:
    labels = TRUE.copy()
    labels[:32, :32] = 0
    doubts = evidence("a", labels, predicted(TRUE, 0.3)).doubts
    assert {(d.annotated, d.predicted, d.alone) for d in doubts} == {(0, 1, True), (0, 2, True)}
    assert all(d.confidence > 0.9 for d in doubts)
    nucleus = next(d for d in doubts if d.predicted == 2)
    assert nucleus.radius == pytest.approx(
        evidence("b", TRUE, predicted(TRUE)).objects[2][0].max(), abs=1.5
    )


def test_large_images_are_looked_at_smaller() -> None:
    large = np.repeat(np.repeat(TRUE, 20, 0), 20, 1)
    p = np.repeat(np.repeat(predicted(TRUE, 0.3), 20, 0), 20, 1)
    found = evidence("a", large, p)
    assert found.confidence[:, 1].sum() == 512 * 512 and found.dice > 0.99


def test_a_mask_without_an_outside() -> None:
    p = np.zeros((8, 8, 2), np.float32)
    p[..., 1] = 1
    (doubt,) = evidence("a", np.zeros((8, 8), np.uint8), p).doubts
    assert doubt.radius == 4
