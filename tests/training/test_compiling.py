"""What the loss of an epoch is the mean of."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from flexseg.config.model import ModelConfig
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.training.compiling import compile_model

BATCH, SIDE = 2, 4


def _network() -> keras.Model:
    """Its probabilities are its input."""
    image = keras.Input((SIDE, SIDE, 1))
    output = keras.layers.Conv2D(1, 1, kernel_initializer="ones")(image)
    return keras.Model(image, output)


def _cross_entropy(labels: np.ndarray, p: np.ndarray) -> float:
    counts = labels != IGNORED
    true = np.where(labels == 1, p[..., 0], 1 - p[..., 0])[counts]
    return float(-np.log(true).mean())


@pytest.mark.parametrize("training", [False, True])
def test_a_batch_of_which_nothing_counts_is_in_no_mean(training: bool) -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, (3 * BATCH, SIDE, SIDE, 1)).astype(np.float32)
    labels = rng.integers(0, 2, p.shape[:3]).astype(np.uint8)
    labels[:BATCH] = IGNORED
    labels[BATCH:, 2:] = np.where(rng.random((2 * BATCH, 2, SIDE)) < 0.7, IGNORED, 1)
    config = ModelConfig(
        num_classes=1, loss="binary_crossentropy", metrics=["binary_accuracy"], learning_rate=1e-9
    )
    network = _network()
    compile_model(network, config, ignoring=True)
    if training:
        history = network.fit(p, labels, batch_size=BATCH, shuffle=False, verbose=0).history
        found = {name: values[0] for name, values in history.items()}
    else:
        found = network.evaluate(p, labels, batch_size=BATCH, verbose=0, return_dict=True)
    assert {*found} == {"loss", "binary_accuracy"}
    assert found["loss"] == pytest.approx(_cross_entropy(labels, p), rel=1e-5)


def test_without_ignored_pixels_the_loss_is_that_of_keras() -> None:
    network = _network()
    compile_model(
        network, ModelConfig(num_classes=1, loss="binary_crossentropy", metrics=["binary_accuracy"])
    )
    assert [m.name for m in network.metrics] == ["loss", "compile_metrics"]
    assert [m.name for m in network._compile_metrics.metrics] == ["binary_accuracy"]
