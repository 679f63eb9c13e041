"""Temperature scaling: fitted probabilities, and labels that stay."""

from __future__ import annotations

import numpy as np
import pytest

from flexseg.inference.trust.temperature import best_temperature, scaled, scaled_planes


@pytest.mark.parametrize("classes", [1, 3])
def test_overconfident_probabilities_are_set_right(classes: int) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, classes)).astype(np.float32)
    if classes == 1:
        right = 1 / (1 + np.exp(-logits))
        truth = (rng.random(20_000) < right[:, 0]).astype(np.uint8)
        sure = 1 / (1 + np.exp(-3 * logits))
    else:
        right = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        draws = rng.random((20_000, 1)) > right.cumsum(axis=-1)
        truth = draws.sum(axis=-1).clip(0, classes - 1).astype(np.uint8)
        sure = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=-1, keepdims=True)
    found = best_temperature(sure, truth)
    assert found == pytest.approx(3, rel=0.1)
    np.testing.assert_allclose(scaled(sure, 3), right, atol=0.01)


def test_nothing_changes_at_one_and_no_order_ever() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet((1, 1, 1), (2, 5, 4)).astype(np.float32)
    assert scaled(p, 1) is p
    for temperature in (0.3, 4.0):
        other = scaled_planes(p, temperature)
        np.testing.assert_array_equal(other.argmax(axis=-1), p.argmax(axis=-1))
        np.testing.assert_allclose(other.sum(axis=-1), 1, rtol=1e-5)
    assert best_temperature(np.empty((0, 2), np.float32), np.empty(0, np.uint8)) == 1
