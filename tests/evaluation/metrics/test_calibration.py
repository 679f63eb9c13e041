"""Calibration of probabilities whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexseg.evaluation.metrics.calibration import BINS, of_class, of_decisions, with_background


def test_honest_probabilities_have_no_calibration_error() -> None:
    """What is claimed with probability p is true in a share p: ECE 0, Brier E[p (1 - p)]."""
    rng = np.random.default_rng(0)
    p = rng.random((1000, 1000)).astype(np.float32)
    found = of_class(p, rng.random(p.shape) < p)
    assert found.ece == pytest.approx(0, abs=3e-3)
    assert found.brier == pytest.approx(1 / 6, abs=1e-3)


def test_boastful_probabilities() -> None:
    """0.95 claimed, 3 of 4 true: ECE 0.2, Brier 0.75 0.05^2 + 0.25 0.95^2."""
    p = np.full((20, 20), 0.95, np.float32)
    truth = np.ones((20, 20), bool)
    truth[:5] = False
    found = of_class(p, truth)
    assert found.ece == pytest.approx(0.2, abs=1e-6)
    assert found.brier == pytest.approx(0.75 * 0.05**2 + 0.25 * 0.95**2, abs=1e-6)


def test_bins_of_the_reliability_diagram() -> None:
    p = np.array([[0.0, 0.01, 0.5, 1.0]], np.float32)
    content = of_class(p, np.array([[False, True, True, True]])).calibration().as_dict()
    assert len(content["bins"]) == BINS
    first, middle, last = (content["bins"][i] for i in (0, BINS // 2, BINS - 1))
    assert (first["pixels"], first["confidence"], first["accuracy"]) == (2, 0.005, 0.5)
    assert (middle["pixels"], middle["confidence"], middle["accuracy"]) == (1, 0.5, 1)
    assert (last["from"], last["to"], last["pixels"]) == ((BINS - 1) / BINS, 1, 1)
    assert content["bins"][3]["accuracy"] is None
    assert content["ece"] == pytest.approx((abs(1 - 0.01) + 0.5) / 4)


def test_decisions_count_the_predicted_class() -> None:
    p = np.array([[[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]], np.float32)
    found = of_decisions(p, np.array([[0, 1]], np.uint8), np.array([[0, 2]], np.uint8))
    # 0.7 claimed and right, 0.6 claimed and wrong.
    assert found.ece == pytest.approx((0.3 + 0.6) / 2)
    squares = (0.3**2 + 0.2**2 + 0.1**2) + (0.1**2 + 0.7**2 + 0.6**2)
    assert found.brier == pytest.approx(squares / 2 / 2)


def test_one_sigmoid_channel_is_two_classes() -> None:
    rng = np.random.default_rng(1)
    p = rng.random((8, 9, 1)).astype(np.float32)
    truth = rng.random((8, 9)) < 0.3
    both = with_background(p)
    assert both.shape == (8, 9, 2)
    np.testing.assert_allclose(both.sum(axis=-1), 1, rtol=1e-6)
    prediction = (p[..., 0] > 0.5).astype(np.uint8)
    pooled = of_decisions(both, truth.astype(np.uint8), prediction)
    # With two classes the halved sum of squares is the mean of (p - y)^2.
    assert pooled.brier == pytest.approx(of_class(p[..., 0], truth).brier)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_cases_add_up(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), (12, 10)).astype(np.float32)
    truth = rng.integers(0, classes, (12, 10)).astype(np.uint8)
    prediction = p.argmax(-1).astype(np.uint8)
    whole = of_decisions(p, truth, prediction)
    halves = [of_decisions(p[s], truth[s], prediction[s]) for s in (np.s_[:5], np.s_[5:])]
    total = halves[0] + halves[1]
    np.testing.assert_array_equal(total.pixels, whole.pixels)
    assert (total.ece, total.brier) == (pytest.approx(whole.ece), pytest.approx(whole.brier))
    assert 0 <= whole.brier <= 1
    confidence = p.max(-1)
    assert whole.ece >= abs(confidence.mean() - (prediction == truth).mean()) - 1e-5


def test_brier_of_large_sure_images_is_exact() -> None:
    """Their errors are far below what float32 keeps of sums over all pixels."""
    rng = np.random.default_rng(0)
    right = 1 - rng.uniform(0, 2e-3, (1500, 1500))
    probabilities = np.stack([right, 1 - right], axis=-1).astype(np.float32)
    labels = np.zeros(right.shape, np.uint8)
    expected = np.mean((1 - probabilities[..., 0].astype(float)) ** 2)
    found = of_decisions(probabilities, labels, labels)
    assert found.brier == pytest.approx(expected, rel=1e-3)
