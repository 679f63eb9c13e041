"""UNet 3+: the contract, the published size, the full-scale skip connections."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.models.build import build_model


class TestUNet3Plus(ModelContract):
    name = "UNet3Plus"


def _build(**keys: Any) -> keras.Model:
    base = {
        "model": "UNet3Plus",
        "num_classes": 3,
        "image_width": 16,
        "image_height": 16,
        "num_layers": 5,
        "base_filters": 2,
    }
    return build_model(ModelConfig.model_validate(base | keys))


def _of(model: keras.Model, kind: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_published_parameter_count() -> None:
    """26.97 M without deep supervision (Huang 2020, table 1)."""
    model = _build(base_filters=64, num_classes=1)
    frozen = sum(2 * layer.gamma.shape[0] for layer in _of(model, keras.layers.BatchNormalization))
    assert round((model.count_params() - frozen) / 1e6, 2) == 26.97


def test_each_decoder_level_sees_all_scales() -> None:
    model = _build()
    pools = [layer.pool_size[0] for layer in _of(model, keras.layers.MaxPooling2D)]
    assert pools == [2, 2, 2, 2, 8, 4, 2, 4, 2, 2]
    factors = [layer.size[0] for layer in _of(model, keras.layers.UpSampling2D)]
    assert factors == [2, 2, 4, 2, 4, 8, 2, 4, 8, 16]
    joined = [len(layer.input) for layer in _of(model, keras.layers.Concatenate)]
    assert joined == [5, 5, 5, 5]


@pytest.mark.parametrize("levels", [5, 8])
def test_num_layers_sets_the_width_of_the_decoder(levels: int) -> None:
    model = _build(num_layers=levels)
    joined = _of(model, keras.layers.Concatenate)
    assert {layer.output.shape[-1] for layer in joined} == {5 * 2}
    convolutions = _of(model, keras.layers.Conv2D)
    assert convolutions[-1].kernel.shape == (3, 3, 2 * levels, 3)


def test_dropout_doubles_in_the_second_convolution_of_a_level() -> None:
    model = _build(dropout_rate=0.2)
    rates = [layer.rate for layer in _of(model, keras.layers.Dropout)]
    assert rates == [0.2, 0.4] * 5 + [0.2] * 6 * 4


class TestRefusals:
    def test_fewer_than_five_levels(self) -> None:
        with pytest.raises(ConfigError, match=r"num_layers = 4, but UNet3Plus always has 5.*Use 5"):
            _build(num_layers=4)

    def test_dropout_that_would_reach_one(self) -> None:
        with pytest.raises(ConfigError, match=r"dropout_rate = 0.5 is doubled.*less than 0.5"):
            _build(dropout_rate=0.5)
