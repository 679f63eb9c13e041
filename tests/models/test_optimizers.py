"""Optimizers: the fused ones equal Keras' own."""

from __future__ import annotations

from typing import Literal

import keras
import numpy as np
import pytest

from flexseg.config.model import ModelConfig
from flexseg.models.optimizers import make_optimizer


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_steps_equal_those_of_keras(name: str) -> None:
    rng = np.random.default_rng(0)
    start = [rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=7).astype(np.float32)]
    config = ModelConfig(optimizer=name, learning_rate=0.01, clipvalue=0.3)
    own = make_optimizer(config)
    reference = getattr(keras.optimizers, name)(learning_rate=0.01, clipvalue=0.3)
    results = []
    gradients = [[rng.normal(size=w.shape).astype(np.float32) for w in start] for _ in range(20)]
    for optimizer in (own, reference):
        weights = [keras.Variable(w) for w in start]
        for step in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], weights)
        results.append([keras.ops.convert_to_numpy(w) for w in weights])
    for ours, theirs, first in zip(*results, start, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        assert np.abs(ours - first).max() > 0.01


def test_sgd_has_the_momentum_of_nnunet() -> None:
    optimizer = make_optimizer(ModelConfig(optimizer="SGD"))
    assert (optimizer.momentum, optimizer.nesterov) == (0.99, True)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_every_optimizer_trains(name: Literal["Adam", "AdamW", "SGD"], ema: float) -> None:
    """In a graph, where the optimizer's name is a scope."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    config = ModelConfig(optimizer=name, learning_rate=0.01)
    model.compile(optimizer=make_optimizer(config, ema), loss="mse")
    x = np.array([[0.0, 1.0], [1.0, 0.0]], np.float32)
    y = x.sum(axis=1, keepdims=True)
    losses = [float(model.train_on_batch(x, y)) for _ in range(30)]
    assert losses[-1] < losses[0]
