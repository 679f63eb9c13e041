"""U-Net on an EfficientNet (Tan and Le 2019), as the original systems build it."""

from __future__ import annotations

from typing import Literal

import keras
from keras import layers
from pydantic import Field

from flexseg.backend import Tensor
from flexseg.models.architecture import register_model
from flexseg.models.encoders import (
    MULTIPLE,
    build_encoder,
    encoder_input,
    unit_range,
)
from flexseg.models.layers import conv_block, segmentation_head, upsample
from flexseg.models.options import EncoderOptions

BRIDGE = "block7a_project_bn"
SKIPS = ("block5c_drop", "block3b_drop", "block2b_drop", "block1a_project_bn")


class EfficientUNetConfig(EncoderOptions):
    """Options of the EfficientUNet."""

    efficientnet: Literal["B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7"] = Field(
        "B0", description="Size of the encoder."
    )


def _backbone(config: EfficientUNetConfig) -> str:
    return f"EfficientNet{config.efficientnet}"


def _residual(x: Tensor, filters: int) -> Tensor:
    """Two convolutions beside one of a single pixel; [B, H, W, C] to [B, H, W, filters]."""
    y = conv_block(conv_block(x, filters), filters)
    return layers.Add()([y, layers.Conv2D(filters, 1)(x)])


@register_model(
    "EfficientUNet",
    "TensorFlowFlexEfficientUNet",
    "TensorflowEfficientUNet",
    paper="Tan and Le 2019, EfficientNet: rethinking model scaling for convolutional neural "
    "networks",
    multiple=MULTIPLE,
    backbone=_backbone,
)
def build_efficient_unet(config: EfficientUNetConfig) -> keras.Model:
    """U-Net with residual blocks on an EfficientNet from B0 to B7.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    inputs, image = encoder_input(config)
    encoder = build_encoder(image, config, _backbone(config))
    skips = [encoder.outputs[name] for name in SKIPS]
    bridge = encoder.outputs[BRIDGE]
    x = _residual(bridge, bridge.shape[-1])
    for skip, filters in zip(
        [*skips, unit_range(image, config)],
        [skip.shape[-1] for skip in (*skips, skips[-1])],
        strict=True,
    ):
        x = layers.Concatenate()([upsample(x, 2, "nearest"), skip])
        x = _residual(x, filters)
    return keras.Model(inputs, segmentation_head(x, config), name="efficient_unet")
