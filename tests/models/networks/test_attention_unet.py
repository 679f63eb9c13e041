"""Attention UNet: the contract, the gates, the rule of the sizes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.models.build import build_model


class TestAttentionUNet(ModelContract):
    name = "AttentionUNet"
    unit = 8


def _build(**keys: Any) -> keras.Model:
    base = {
        "model": "AttentionUNet",
        "num_classes": 3,
        "image_width": 16,
        "image_height": 16,
        "num_layers": 3,
        "base_filters": 4,
    }
    return build_model(ModelConfig.model_validate(base | keys))


def _parameters(levels: int, first: int, channels: int, classes: int) -> int:
    """The count by the rule of the original systems, without building the network."""

    def normalized(kernel: int, inputs: int, outputs: int) -> int:
        return kernel * kernel * inputs * outputs + outputs + 4 * outputs

    def double(inputs: int, outputs: int) -> int:
        return normalized(3, inputs, outputs) + normalized(3, outputs, outputs)

    total, inputs = 0, channels
    for level in range(levels):
        total += double(inputs, first * 2**level)
        inputs = first * 2**level
    for level in reversed(range(levels - 1)):
        filters = first * 2**level
        gate = normalized(1, 2 * filters, filters) + normalized(1, filters, filters)
        total += gate + filters * filters + filters + double(3 * filters, filters)
    return total + first * classes + classes


@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize(("first", "channels", "classes"), [(3, 1, 1), (4, 3, 5)])
def test_parameter_count(levels: int, first: int, channels: int, classes: int) -> None:
    model = _build(
        num_layers=levels, base_filters=first, image_channels=channels, num_classes=classes
    )
    assert model.count_params() == _parameters(levels, first, channels, classes)


@pytest.mark.parametrize(("bias", "coefficient"), [(-100.0, 0.0), (0.0, 0.5), (100.0, 1.0)])
def test_gates_weight_each_channel_of_the_skip_connections(bias: float, coefficient: float) -> None:
    model = _build()
    products = [layer for layer in model.layers if isinstance(layer, keras.layers.Multiply)]
    assert [p.output.shape for p in products] == [(None, 8, 8, 8), (None, 16, 16, 4)]
    for product in products:
        gate, skip = product.input
        scores = gate._keras_history.operation.input._keras_history.operation
        scores.set_weights([np.zeros_like(scores.kernel), np.full_like(scores.bias, bias)])
    x = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)
    outputs = [(product.input[1], product.output) for product in products]
    for skip, gated in keras.Model(model.inputs, outputs).predict_on_batch(x):
        assert skip.std() > 0
        np.testing.assert_allclose(gated, coefficient * skip, atol=1e-6)


def test_dropout_is_the_same_at_all_levels() -> None:
    model = _build(dropout_rate=0.25)
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25] * (3 + 2 + 2)  # encoder, gates, decoder


def test_dropout_does_not_change_the_order_of_the_weights() -> None:
    shapes = [
        [weight.shape for layer in _build(dropout_rate=rate).layers for weight in layer.weights]
        for rate in (0.0, 0.1)
    ]
    assert shapes[0] == shapes[1]
