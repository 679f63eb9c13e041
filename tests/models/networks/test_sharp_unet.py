"""Sharp UNet: the contract, the frozen kernel, the rule of the sizes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.losses import keras_loss
from flexseg.models.build import build_model

OBLONG = {"base_ksize": (4, 3), "dilation": (1, 2)}


class TestSharpUNet(ModelContract):
    name = "SharpUNet"


class TestSharpUNetWithUnequalSides(ModelContract):
    """Even and oblong kernels, oblong dilations."""

    name = "SharpUNet"
    small = OBLONG


def _build(**keys: Any) -> keras.Model:
    base = {
        "model": "SharpUNet",
        "num_classes": 3,
        "image_width": 16,
        "image_height": 16,
        "filters": [4, 8],
        "max_filter": 16,
    }
    return build_model(ModelConfig.model_validate(base | keys))


def _sharpening(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]


def test_parameter_count_with_one_pair_of_convolutions_in_the_decoder() -> None:
    def conv(kernel: int, inputs: int, outputs: int) -> int:
        return kernel * inputs * outputs + outputs

    encoder = conv(15, 2, 5) + conv(15, 5, 5) + conv(15, 5, 3) + conv(15, 3, 3)
    bottleneck = conv(15, 3, 7) + conv(15, 7, 7)
    decoder = conv(4, 7, 3) + 9 * 3 + conv(4, 2 * 3, 5) + 9 * 5
    last = conv(15, 2 * 5, 5) + conv(15, 5, 5) + conv(1, 5, 3)
    model = _build(filters=[5, 3], max_filter=7, base_ksize=(3, 5), image_channels=2)
    assert model.count_params() == encoder + bottleneck + decoder + last


def test_skip_connections_are_sharpened() -> None:
    layers = _sharpening(_build())
    assert [layer.output.shape for layer in layers] == [(None, 8, 8, 8), (None, 16, 16, 4)]
    x = np.zeros((1, 5, 5, 4), np.float32)
    x[0, 2, 2] = [1, 2, 3, -1]
    found = keras.ops.convert_to_numpy(layers[1](x))
    np.testing.assert_allclose(found[0, 2, 2], [8, 16, 24, -8])
    around = np.delete(found[0, 1:4, 1:4].reshape(9, 4), 4, axis=0)
    np.testing.assert_allclose(around, np.tile([-1.0, -2, -3, 1], (8, 1)))
    assert found.sum() == pytest.approx(0)


def test_training_leaves_the_sharpening_kernel() -> None:
    model = _build()
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=keras_loss("dice_ce_loss", 3))
    before = [layer.get_weights()[0] for layer in _sharpening(model)]
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    model.train_on_batch(x, (x[..., 0] > 128).astype(np.uint8))
    for layer, kernel in zip(_sharpening(model), before, strict=True):
        np.testing.assert_array_equal(layer.get_weights()[0], kernel)


def test_dilation_is_the_same_at_all_levels() -> None:
    model = _build(dilation=(2, 3))
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert {layer.dilation_rate for layer in convolutions[:-1]} == {(2, 3)}
    assert convolutions[-1].name == "logits"
