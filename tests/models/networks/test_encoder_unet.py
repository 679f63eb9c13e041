"""EncoderUNet: the contract, encoders of other kinds, and refusals."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from contract import EncoderContract

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.errors import ConfigError
from flexseg.models.build import build_model

SMALL_DECODER = [16, 8, 8, 4, 4]


class TestEncoderUNet(EncoderContract):
    name = "EncoderUNet"


def config_of(**keys: Any) -> ModelConfig:
    base = {
        "model": "EncoderUNet",
        "image_height": 32,
        "image_width": 64,
        "weights": "none",
        "decoder_filters": SMALL_DECODER,
    }
    return parse_section(base | keys)


def joined(model: keras.Model) -> list[tuple[int, int]]:
    """Height and channels of what the decoder makes of each skip."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate)]
    return [(layer.output.shape[1], layer.output.shape[-1]) for layer in layers]


def test_default_encoder() -> None:
    named, default = (build_model(config_of(backbone=b)) for b in ("EfficientNetV2B0", None))
    assert [w.shape for w in named.weights] == [w.shape for w in default.weights]


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("EfficientNetV2B0", [(2, 1280 + 672), (4, 16 + 192), (8, 8 + 32), (16, 8 + 16)]),
        ("convnexttiny", [(2, 768 + 384), (4, 16 + 192), (8, 8 + 96)]),
        ("ResNet50", [(2, 2048 + 1024), (4, 16 + 512), (8, 8 + 256), (16, 8 + 64)]),
    ],
)
def test_skips(backbone: str, expected: list[tuple[int, int]]) -> None:
    """ConvNeXt begins at 1/4; the output has full resolution all the same."""
    model = build_model(config_of(backbone=backbone))
    assert joined(model) == expected
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 64, 3)).astype(np.float32)
    p = keras.ops.convert_to_numpy(model(x, training=False))
    assert p.shape == (1, 32, 64, 2)
    assert p.std() > 0
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-5)


def test_everything_is_trained_even_if_pretrained() -> None:
    model = build_model(config_of(weights="imagenet"))
    assert all(layer.trainable for layer in model.layers)


@pytest.mark.parametrize("count", [4, 6])
def test_wrong_number_of_decoder_filters(count: int) -> None:
    with pytest.raises(ConfigError, match=rf"has {count} numbers.*Give 5 numbers"):
        build_model(config_of(decoder_filters=[8] * count))


def test_unknown_encoder() -> None:
    with pytest.raises(ConfigError, match="'VGG16' is not a known encoder"):
        build_model(config_of(backbone="VGG16"))
