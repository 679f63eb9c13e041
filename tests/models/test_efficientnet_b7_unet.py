"""EfficientNetB7UNet: the contract on a small sibling, then the heads and freezing of B7 itself."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from contract import EncoderContract

from flexseg.config.schema import ModelConfig
from flexseg.models import efficientnet_b7_unet
from flexseg.models.build import build_model
from flexseg.models.registry import MODELS


class TestEfficientNetB7UNet(EncoderContract):
    """On the smallest encoder of the family, whose blocks have the same names."""

    name = "EfficientNetB7UNet"

    @pytest.fixture(autouse=True)
    def small_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(efficientnet_b7_unet, "BACKBONE", "EfficientNetB0")
        monkeypatch.setattr(efficientnet_b7_unet, "FILTERS", (16, 8, 8, 4, 4))


def config_of(**keys: Any) -> ModelConfig:
    base = {"model": "EfficientNetB7UNet", "image_height": 32, "image_width": 32}
    return ModelConfig.model_validate(base | keys)


def test_original_names() -> None:
    for name in ("TensorFlowFlexEfficientNetB7UNet", "TensorflowEfficientNetB7UNet"):
        assert MODELS.canonical(name) == "EfficientNetB7UNet"


def test_head_and_size_with_several_classes() -> None:
    """The originals' network of one class has 56 725 112 parameters; each more has 32 + 1."""
    model = build_model(config_of(num_classes=4, weights="none"))
    assert model.output_shape == (None, 32, 32, 4)
    assert model.count_params() == 56_725_112 + 3 * 33
    assert all(layer.trainable for layer in model.layers)


def test_the_last_61_layers_of_the_encoder_are_trained() -> None:
    encoder = keras.applications.EfficientNetB7(include_top=False, weights=None)
    model = build_model(config_of(weights="imagenet"))
    trained = {layer.name for layer in encoder.layers[-61:]}
    for layer in encoder.layers:
        if layer.name in {own.name for own in model.layers} and layer.weights:
            assert model.get_layer(layer.name).trainable == (layer.name in trained), layer.name
    assert model.get_layer("logits").trainable


def test_freezing_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_b7_unet, "BACKBONE", "EfficientNetB0")
    model = build_model(config_of(weights="imagenet", freeze_backbone=False))
    assert all(layer.trainable for layer in model.layers)
