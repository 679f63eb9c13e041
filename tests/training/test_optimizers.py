"""Optimizers: the fused ones equal Keras' own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from flexseg.config.model import ModelConfig
from flexseg.training.optimizers import make_optimizer


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
