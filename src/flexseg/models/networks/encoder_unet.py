"""U-Net decoder (Ronneberger et al. 2015) on any encoder of `flexseg.models.encoders`."""

from __future__ import annotations

from itertools import zip_longest

import keras
from keras import layers
from pydantic import Field

from flexseg.config.base import Counts
from flexseg.config.findings import amount
from flexseg.errors import ConfigError
from flexseg.models.architecture import register_model
from flexseg.models.encoders import (
    MULTIPLE,
    build_encoder,
    encoder_input,
)
from flexseg.models.layers import conv_block, segmentation_head, upsample
from flexseg.models.options import EncoderOptions

DEFAULT_BACKBONE = "EfficientNetV2B0"
HALVINGS = 5


class EncoderUNetConfig(EncoderOptions):
    """Options of the EncoderUNet."""

    backbone: str | None = Field(
        None,
        description="Encoder: EfficientNetLite0, or one of keras.applications, e.g. "
        "'EfficientNetV2B0', 'ConvNeXtTiny', 'ResNet50'.",
    )
    decoder_filters: Counts = Field(
        [256, 128, 64, 32, 16], description="Filters of the decoder, deepest first."
    )


def _backbone(config: EncoderUNetConfig) -> str:
    return config.backbone or DEFAULT_BACKBONE


def check_encoder_unet(config: EncoderUNetConfig) -> None:
    """Refuse values that the network cannot be built with.

    Raises
    ------
    ConfigError : wrong number of decoder_filters.
    """
    if len(config.decoder_filters) != HALVINGS:
        raise ConfigError(
            f"decoder_filters = {config.decoder_filters} has "
            f"{amount(len(config.decoder_filters), 'number')}; the decoder doubles the size "
            f"{HALVINGS} times.",
            f"Give {HALVINGS} numbers, deepest level first.",
            "[model] decoder_filters",
        )


@register_model(
    "EncoderUNet",
    paper="Ronneberger 2015, U-Net: convolutional networks for biomedical image segmentation",
    multiple=MULTIPLE,
    check=check_encoder_unet,
    backbone=_backbone,
    defaults={"backbone": DEFAULT_BACKBONE},
)
def build_encoder_unet(config: EncoderUNetConfig) -> keras.Model:
    """U-Net on a pretrained EfficientNet, EfficientNetV2, ConvNeXt or ResNet.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    inputs, x = encoder_input(config)
    *skips, x = build_encoder(x, config, _backbone(config)).features
    # There is no feature at full resolution, nor at one half in ConvNeXt.
    for filters, skip in zip_longest(config.decoder_filters, reversed(skips)):
        x = upsample(x, 2, "nearest")
        if skip is not None:
            x = layers.Concatenate()([x, skip])
        for _ in range(2):
            x = conv_block(x, filters, use_bias=False, kernel_initializer="he_normal")
    return keras.Model(inputs, segmentation_head(x, config), name="encoder_unet")
