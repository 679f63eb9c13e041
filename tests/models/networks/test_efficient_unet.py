"""EfficientUNet: the contract, its sizes, and the image that joins the last stage."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from contract import EncoderContract

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.errors import ConfigError
from flexseg.models.architecture import MODELS
from flexseg.models.build import build_model


class TestEfficientUNet(EncoderContract):
    name = "EfficientUNet"
    resting = ("conv2d/bias",)  # on two pixels in all, normalisation takes it away exactly


def config_of(**keys: Any) -> ModelConfig:
    base = {"model": "EfficientUNet", "image_height": 32, "image_width": 32, "weights": "none"}
    return parse_section(base | keys)


def test_original_names() -> None:
    for name in ("TensorFlowFlexEfficientUNet", "TensorflowEfficientUNet"):
        assert MODELS.canonical(name) == "EfficientUNet"


@pytest.mark.parametrize(("size", "skips"), [("B0", (112, 40, 24, 16)), ("B6", (200, 72, 40, 32))])
def test_decoder_has_the_filters_of_the_skips(size: str, skips: tuple[int, ...]) -> None:
    """B6 too, which the originals cannot import."""
    model = build_model(config_of(efficientnet=size, num_classes=2))
    joined = [layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate)]
    bridge = model.get_layer("block7a_project_bn").output.shape[-1]
    below = (bridge, *skips)
    assert [layer.output.shape[-1] for layer in joined] == [
        up + skip for up, skip in zip(below, (*skips, 3), strict=True)
    ]
    assert model.output_shape == (None, 32, 32, 2)


@pytest.mark.parametrize(
    ("mode", "channels", "scale"), [(False, 3, 1), ("auto", 3, 255), ("encoder", 1, 255)]
)
def test_the_image_joins_the_last_stage(mode: Any, channels: int, scale: int) -> None:
    model = build_model(config_of(input_normalize=mode, image_channels=channels))
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate)][-1]
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, channels)).astype(np.float32)
    found = keras.Model(model.input, last.output)(x, training=False)
    np.testing.assert_allclose(found[..., -channels:], x / scale, rtol=1e-6)
    assert found.shape[-1] == 16 + channels


def test_scaling_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="EfficientNetB0 scales its input itself"):
        build_model(config_of(input_normalize="standardize"))
