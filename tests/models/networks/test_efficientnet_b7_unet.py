"""EfficientNetB7UNet: the contract on a small sibling, then B7 itself."""

from __future__ import annotations

from typing import Any

import pytest
from contract import EncoderContract, application

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.models import encoders
from flexseg.models.architecture import MODELS
from flexseg.models.build import build_model
from flexseg.models.networks import efficientnet_b7_unet


class TestEfficientNetB7UNet(EncoderContract):
    """On the smallest encoder of the family, whose blocks have the same names."""

    name = "EfficientNetB7UNet"

    @pytest.fixture(autouse=True)
    def small_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(efficientnet_b7_unet, "BACKBONE", "EfficientNetB0")
        monkeypatch.setattr(efficientnet_b7_unet, "FILTERS", (16, 8, 8, 4, 4))


def config_of(**keys: Any) -> ModelConfig:
    base = {"model": "EfficientNetB7UNet", "image_height": 32, "image_width": 32}
    return parse_section(base | keys)


def test_original_names() -> None:
    for name in ("TensorFlowFlexEfficientNetB7UNet", "TensorflowEfficientNetB7UNet"):
        assert MODELS.canonical(name) == "EfficientNetB7UNet"


def test_heads_and_training_of_b7_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the originals: 56 725 112 parameters with one class, the last 61 layers trained."""
    monkeypatch.setattr(encoders, "_application", application)
    model = build_model(config_of(num_classes=4, weights="imagenet"))
    assert model.output_shape == (None, 32, 32, 4)
    assert model.count_params() == 56_725_112 + 3 * 33

    own = {layer.name: layer for layer in model.layers}
    encoder = [layer.name for layer in application("EfficientNetB7", 3).layers]
    frozen = {name for name in encoder[:-61] if name in own and own[name].weights}
    trained = {name for name in encoder[-61:] if name in own and own[name].weights}
    assert len(trained) == 4
    assert len(frozen) > 300
    assert not any(own[name].trainable for name in frozen)
    assert all(own[name].trainable for name in trained | {"logits"})


@pytest.mark.parametrize(
    "keys", [{"weights": "none"}, {"weights": "imagenet", "freeze_backbone": False}]
)
def test_freezing_is_for_pretrained_weights(
    keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet_b7_unet, "BACKBONE", "EfficientNetB0")
    assert all(layer.trainable for layer in build_model(config_of(**keys)).layers)
