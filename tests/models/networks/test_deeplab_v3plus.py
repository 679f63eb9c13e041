"""DeepLabV3+: the contract, its pyramid, and a pretrained encoder of which it uses a part."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from contract import EncoderContract

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.errors import ConfigError
from flexseg.models.architecture import MODELS
from flexseg.models.build import build_model
from flexseg.models.encoders import load_pretrained
from flexseg.models.weights import save_weights


class TestDeepLabV3Plus(EncoderContract):
    name = "DeepLabV3Plus"


def config_of(**keys: object) -> ModelConfig:
    base = {"model": "DeepLabV3Plus", "image_height": 32, "image_width": 32, "weights": "none"}
    return parse_section(base | keys)


def test_original_names() -> None:
    for name in ("TensorFlowFlexDeepLabV3Plus", "TensorflowDeepLabV3Plus"):
        assert MODELS.canonical(name) == "DeepLabV3Plus"


def test_pyramid_and_resolutions() -> None:
    model = build_model(config_of())
    dilated = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.dilation_rate != (1, 1)
    ]
    assert sorted(layer.dilation_rate[0] for layer in dilated) == [6, 12, 18]
    assert {layer.output.shape[1:3] for layer in dilated} == {(2, 2)}
    assert model.get_layer("logits").output.shape[1:3] == (8, 8)


def test_pretrained_encoder_and_nothing_else(tmp_path: Path) -> None:
    reference = keras.applications.ResNet50(include_top=False, weights=None)
    save_weights(reference, tmp_path / "resnet50.h5")
    config = config_of(weights=tmp_path / "resnet50.h5")
    model = build_model(config)
    head = model.get_layer("logits").get_weights()
    load_pretrained(model, config, MODELS.get("DeepLabV3Plus").backbone(config))
    shared = {layer.name for layer in reference.layers} & {layer.name for layer in model.layers}
    assert {"conv1_conv", "conv4_block6_2_bn"} <= shared
    assert "conv5_block1_1_conv" not in shared
    for name in shared:
        for found, expected in zip(
            model.get_layer(name).get_weights(),
            reference.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], head[0])
    assert all(layer.trainable for layer in model.layers)


def test_channels_that_pretrained_weights_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="image_channels = 2"):
        build_model(config_of(image_channels=2, weights="imagenet"))
