"""Attention U-Net of Oktay et al. 2018 as the original systems build it.

Their gate works at the resolution of the skip connection and has one coefficient per pixel
and channel, where the paper has one per pixel.
"""

from __future__ import annotations

import keras
from keras import layers

from flexseg.backend import Tensor
from flexseg.models.architecture import register_model
from flexseg.models.layers import (
    conv_block,
    network_input,
    normalize,
    segmentation_head,
    upsample,
)
from flexseg.models.networks.unet import unet_multiple
from flexseg.models.options import DropoutRate, LevelOptions


class AttentionUNetConfig(LevelOptions):
    """Options of the AttentionUNet."""

    dropout_rate: DropoutRate = 0.0


def _double_conv(x: Tensor, filters: int, dropout: float) -> Tensor:
    """[B, H, W, C] to [B, H, W, filters]; dropout is in the second convolution."""
    return conv_block(conv_block(x, filters), filters, dropout=dropout)


def _gated(skip: Tensor, signal: Tensor, dropout: float) -> Tensor:
    """The skip connection [B, H, W, F], weighted 0..1 by itself and the signal [B, H, W, G]."""
    filters = skip.shape[-1]
    from_signal = normalize(layers.Conv2D(filters, 1)(signal))
    from_skip = layers.Conv2D(filters, 1)(skip)
    # Without effect at rate 0, but it puts the weights in the order of the originals' files.
    from_skip = normalize(layers.Dropout(dropout)(from_skip))
    x = layers.Activation("relu")(layers.Add()([from_signal, from_skip]))
    x = layers.Conv2D(filters, 1)(x)
    return layers.Multiply()([layers.Activation("sigmoid")(x), skip])


@register_model(
    "AttentionUNet",
    "TensorFlowFlexAttentionUNet",
    "TensorflowAttentionUNet",
    paper="Oktay 2018, Attention U-Net: learning where to look for the pancreas",
    multiple=unet_multiple,
)
def build_attention_unet(config: AttentionUNetConfig) -> keras.Model:
    """UNet whose skip connections pass attention gates; batch normalisation.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    filters = [config.base_filters * 2**level for level in range(config.num_layers)]
    inputs, x = network_input(config, unet_multiple(config))
    skips = []
    for width in filters[:-1]:
        x = _double_conv(x, width, config.dropout_rate)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _double_conv(x, filters[-1], config.dropout_rate)
    for skip in reversed(skips):
        x = upsample(x)
        x = layers.Concatenate()([x, _gated(skip, x, config.dropout_rate)])
        x = _double_conv(x, skip.shape[-1], config.dropout_rate)
    return keras.Model(inputs, segmentation_head(x, config), name="attention_unet")
