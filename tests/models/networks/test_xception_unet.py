"""Xception-like UNet: the contract, the published size, dilations."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.models.build import build_model


class TestXceptionLikeUNet(ModelContract):
    name = "XceptionLikeUNet"
    unit = 16


def _build(**keys: Any) -> keras.Model:
    base = {"model": "XceptionLikeUNet", "num_classes": 3, "image_width": 32, "image_height": 32}
    return build_model(ModelConfig.model_validate(base | keys))


def _of(model: keras.Model, kind: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_published_parameter_counts() -> None:
    """2,058,979, of which 3,776 are statistics: the summary of Keras' example."""
    model = _build(base_filters=32, num_layers=4)
    assert model.count_params() == 2_058_979
    frozen = sum(2 * layer.gamma.shape[0] for layer in _of(model, keras.layers.BatchNormalization))
    assert frozen == 3_776


def test_each_level_halves() -> None:
    model = _build(base_filters=2, num_layers=4)
    sizes = [layer.output.shape[1:] for layer in _of(model, keras.layers.Add)]
    down = [(8, 8, 4), (4, 4, 8), (2, 2, 16)]
    assert sizes == [*down, (4, 4, 16), (8, 8, 8), (16, 16, 4), (32, 32, 2)]


def test_dilations_narrow_with_the_level() -> None:
    model = _build(base_filters=2, num_layers=5, dilation=3)
    dilations = [layer.dilation_rate for layer in _of(model, keras.layers.SeparableConv2D)]
    assert dilations == [(d, d) for d in (3, 3, 2, 2, 1, 1, 1, 1)]


def test_unequal_dilations_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"dilation = \(1, 2\) is not square"):
        _build(dilation=(1, 2))
