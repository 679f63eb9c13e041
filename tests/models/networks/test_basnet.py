"""BASNet: the contract, the published size, the refinement."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.models.build import build_model


class TestBASNet(ModelContract):
    """To compile hundreds of layers, of kinds that others have too, outlasts all other tests."""

    name = "BASNet"
    test_a_compiled_training_step_lowers_the_loss = None


def _build(**keys: Any) -> keras.Model:
    base = {
        "model": "BASNet",
        "num_classes": 3,
        "image_width": 32,
        "image_height": 32,
        "base_filters": 2,
    }
    return build_model(ModelConfig.model_validate(base | keys))


def _of(model: keras.Model, kind: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_published_parameter_count() -> None:
    """87.06 M with the six maps of the bridge and the decoder, which only training sees."""
    model = _build(base_filters=64, num_classes=1)
    frozen = sum(2 * layer.gamma.shape[0] for layer in _of(model, keras.layers.BatchNormalization))
    maps = sum(9 * filters + 1 for filters in (512, 512, 512, 256, 128, 64))
    assert round((model.count_params() - frozen + maps) / 1e6, 2) == 87.06


def test_encoder_is_resnet_34_with_two_more_stages() -> None:
    """Basic blocks by resolution and width, where ResNet-34 has 3, 4, 6, 3."""
    sums = _of(_build(), keras.layers.Add)[:-1]
    blocks = [layer.output.shape[1::2] for layer in sums]
    expected = {(32, 2): 3, (16, 4): 4, (8, 8): 6, (4, 16): 3, (2, 16): 3, (1, 16): 3}
    assert {block: blocks.count(block) for block in blocks} == expected


def test_output_is_the_coarse_map_plus_a_residual() -> None:
    model = _build(input_normalize=True)
    total = model.get_layer("logits")
    coarse, residual = total.input
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    inner = keras.Model(model.inputs, [coarse, residual, total.output])
    before, correction, after = inner.predict_on_batch(x)
    assert before.std() > 0 and correction.std() > 0
    np.testing.assert_allclose(after, before + correction, atol=1e-5)
    last = residual._keras_history.operation
    last.set_weights([np.zeros_like(last.kernel), np.zeros_like(last.bias)])
    shifted = np.exp(before - before.max(axis=-1, keepdims=True))
    expected = shifted / shifted.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(model.predict_on_batch(x), expected, atol=1e-5)
