"""Dropout from 16 bits does what Keras' does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from flexseg.models.dropout import Dropout


def dropped(rate: float, shape: tuple[int, ...] = (4, 63, 65, 5), seed: int = 1) -> np.ndarray:
    x = ops.ones(shape)
    return np.asarray(Dropout(rate, seed=seed)(x, training=True))


@pytest.mark.parametrize("rate", [0.04, 0.25, 0.5, 0.9])
def test_share_of_zeros_and_mean(rate: float) -> None:
    y = dropped(rate)
    deviation = np.sqrt(rate * (1 - rate) / y.size)
    assert np.mean(y == 0) == pytest.approx(rate, abs=5 * deviation)
    assert y.mean() == pytest.approx(1, abs=5 * deviation / (1 - rate))
    np.testing.assert_allclose(y[y > 0], 1 / (1 - rate), rtol=1e-3)


def test_values_are_dropped_independently() -> None:
    zeros = (dropped(0.5) == 0).reshape(4, -1).astype(float)
    neighbours = np.mean(zeros[:, :-1] * zeros[:, 1:])
    assert neighbours == pytest.approx(0.25, abs=0.01)
    images = np.mean(zeros[0] * zeros[1])
    assert images == pytest.approx(0.25, abs=0.01)


def test_each_step_drops_others_and_a_seed_the_same() -> None:
    layer, x = Dropout(0.5, seed=3), ops.ones((1, 40, 40, 1))
    first, second = (np.asarray(layer(x, training=True)) for _ in range(2))
    assert np.mean(first == second) < 0.7
    np.testing.assert_array_equal(first, np.asarray(Dropout(0.5, seed=3)(x, training=True)))


def test_nothing_is_dropped_without_training_or_rate() -> None:
    x = ops.ones((2, 3, 3, 1))
    for layer, training in ((Dropout(0.5), False), (Dropout(0.0), True), (Dropout(1e-6), False)):
        np.testing.assert_array_equal(np.asarray(layer(x, training=training)), np.asarray(x))


def test_gradients_flow_where_values_are_kept() -> None:
    x = tf.ones((1, 9, 9, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = Dropout(0.5, seed=2)(x, training=True)
    np.testing.assert_array_equal(tape.gradient(y, x), y)


def test_half_precision_and_odd_sizes() -> None:
    y = Dropout(0.5, seed=2, dtype="mixed_bfloat16")(ops.ones((1, 3, 3, 1)), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert y.shape == (1, 3, 3, 1)
