"""UNet++ of Zhou et al. 2018: nested, densely connected skip paths."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from flexseg.backend import Tensor
from flexseg.models.architecture import register_model
from flexseg.models.convolution import Conv2DTranspose
from flexseg.models.layers import conv_block, network_input, segmentation_head
from flexseg.models.networks.unet import check_dropout, unet_multiple
from flexseg.models.options import HiddenActivation, LevelDropoutRate, LevelOptions


class UNetPlusPlusConfig(LevelOptions):
    """Options of the UNetPlusPlus."""

    activation: HiddenActivation = "relu"
    dropout_rate: LevelDropoutRate = 0.0


def _node(x: Tensor, config: UNetPlusPlusConfig, level: int) -> Tensor:
    """Two convolutions with batch normalisation, dropout rate x level after the first."""
    filters = config.base_filters * 2**level
    x = conv_block(x, filters, act=config.activation, dropout=config.dropout_rate * level)
    return conv_block(x, filters, act=config.activation)


@register_model(
    "UNetPlusPlus",
    "UNet++",
    paper="Zhou 2018, UNet++: a nested U-Net architecture for medical image segmentation",
    multiple=unet_multiple,
    check=lambda config: check_dropout(config.dropout_rate, config.num_layers),
    deep_supervision=True,
)
def build_unet_plus_plus(config: UNetPlusPlusConfig) -> keras.Model:
    """UNet++, whose skip paths are nested and densely connected.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes]. The
    nodes of the first row, which the paper supervises, are the layers `decoder_0` (the last
    one), `decoder_1`, ...; all have the input's resolution.
    """
    levels = config.num_layers
    inputs, x = network_input(config, unet_multiple(config))
    rows: list[list[Any]] = []
    for level in range(levels):
        x = _node(x, config, level)
        rows.append([x])
        if level < levels - 1:
            x = layers.MaxPooling2D(2)(x)
    for column in range(1, levels):
        for level in range(levels - column):
            filters = config.base_filters * 2**level
            up = Conv2DTranspose(filters, 2, strides=2)(rows[level + 1][column - 1])
            x = _node(layers.Concatenate()([*rows[level], up]), config, level)
            if level == 0:
                x = layers.Identity(name=f"decoder_{levels - 1 - column}")(x)
            rows[level].append(x)
    outputs = segmentation_head(rows[0][-1], config)
    return keras.Model(inputs, outputs, name="unet_plus_plus")
