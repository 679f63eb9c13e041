"""U2-Net: the contract, the nested blocks, the activations of its head."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.models.build import build_model


class TestU2Net(ModelContract):
    name = "U2Net"


def _build(**keys: Any) -> keras.Model:
    base = {
        "model": "U2Net",
        "num_classes": 3,
        "image_width": 16,
        "image_height": 16,
        "num_layers": 2,
        "base_filters": 8,
    }
    return build_model(ModelConfig.model_validate(base | keys))


def _parameters(levels: int, first: int, channels: int, classes: int) -> int:
    """The count by the rule of the original systems, without building the network."""

    def conv(inputs: int, outputs: int) -> int:
        return 9 * inputs * outputs + outputs

    def block(inputs: int, filters: int, depth: int) -> int:
        middle = filters // 4
        down = conv(inputs, filters) + conv(filters, middle) + (depth + 1) * conv(middle, middle)
        return down + depth * conv(2 * middle, middle) + conv(2 * middle, filters)

    def dilated(inputs: int, filters: int) -> int:
        middle = filters // 2
        down = conv(inputs, filters) + conv(filters, middle) + 3 * conv(middle, middle)
        return down + 2 * conv(2 * middle, middle) + conv(2 * middle, filters)

    filters = [first * 2**level for level in range(levels)]
    depths = [levels + 1 - level for level in range(levels)]
    total, inputs = 0, channels
    for width, depth in zip(filters, depths, strict=True):
        total += block(inputs, width, depth)
        inputs = width
    total += 2 * dilated(filters[-1], filters[-1]) + dilated(2 * filters[-1], filters[-1])
    inputs = filters[-1]
    for width, depth in zip(reversed(filters), reversed(depths), strict=True):
        total += block(inputs + width, width, depth)
        inputs = width
    sides = sum(conv(width, classes) for width in (*filters, filters[-1], filters[-1]))
    return total + sides + (levels + 2) * classes * classes + classes


@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize(("first", "channels", "classes"), [(4, 1, 1), (9, 3, 5)])
def test_parameter_count(levels: int, first: int, channels: int, classes: int) -> None:
    model = _build(
        num_layers=levels, base_filters=first, image_channels=channels, num_classes=classes
    )
    assert model.count_params() == _parameters(levels, first, channels, classes)


def test_all_blocks_end_at_the_same_resolution() -> None:
    model = _build(num_layers=3, image_width=32, image_height=48)
    sizes = [layer.output.shape[1:3] for layer in model.layers]
    assert min(size for size in sizes if len(size) == 2) == (3, 2)
    coarsest = sum(
        type(layer) is keras.layers.MaxPooling2D and layer.output.shape[1:3] == (3, 2)
        for layer in model.layers
    )
    assert coarsest == 3 + 1 + 3  # encoder, the deepest block, decoder


def test_side_maps_are_fused_at_full_size() -> None:
    model = _build()
    fused = [layer for layer in model.layers if type(layer) is keras.layers.Concatenate][-1]
    assert [tuple(side.shape) for side in fused.input] == [(None, 16, 16, 3)] * 4
    x = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)
    sides = keras.Model(model.inputs, fused.output).predict_on_batch(x)
    assert 0 < sides.min() < sides.max() < 1


def test_sigmoid_head_of_the_original_for_several_classes() -> None:
    x = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)
    model = _build(multiclass_activation="sigmoid")
    logits = keras.Model(model.inputs, model.get_layer("logits").output).predict_on_batch(x)
    found = model.predict_on_batch(x)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert np.abs(found.sum(axis=-1) - 1).max() > 0.01


def test_activation_of_the_head_for_one_class() -> None:
    x = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)
    model = _build(num_classes=1, final_activation="hard_sigmoid")
    logits = keras.Model(model.inputs, model.get_layer("logits").output).predict_on_batch(x)
    expected = np.clip(logits / 6 + 0.5, 0, 1)
    np.testing.assert_allclose(model.predict_on_batch(x), expected, atol=1e-5)


def test_too_few_filters_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"base_filters = 3.*a quarter.*Use 4 or more"):
        _build(base_filters=3)
