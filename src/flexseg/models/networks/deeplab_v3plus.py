"""DeepLabV3+ of Chen et al. 2018 on ResNet50, as the original systems build it."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from flexseg.backend import Tensor
from flexseg.models.architecture import register_model
from flexseg.models.encoders import build_encoder, encoder_input
from flexseg.models.layers import conv_block, segmentation_head, upsample
from flexseg.models.options import EncoderOptions

BACKBONE = "ResNet50"
MULTIPLE = 16  # where the pyramid works
FILTERS = 256
RATES = (6, 12, 18)


def _conv(x: Tensor, filters: int, kernel: int = 1, use_bias: bool = False, **keys: Any) -> Tensor:
    keys["kernel_initializer"] = "he_normal"
    return conv_block(x, filters, kernel, use_bias=use_bias, **keys)


def _pyramid(x: Tensor) -> Tensor:
    """Atrous spatial pyramid pooling; [B, H, W, C] to [B, H, W, 256]."""
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
    pooled = _conv(pooled, FILTERS, use_bias=True)
    branches = [upsample(pooled, tuple(x.shape[1:3])), _conv(x, FILTERS)]
    branches += [_conv(x, FILTERS, 3, dilation_rate=rate) for rate in RATES]
    return _conv(layers.Concatenate()(branches), FILTERS)


@register_model(
    "DeepLabV3Plus",
    "TensorFlowFlexDeepLabV3Plus",
    "TensorflowDeepLabV3Plus",
    paper="Chen 2018, Encoder-decoder with atrous separable convolution for semantic image "
    "segmentation",
    multiple=MULTIPLE,
    backbone=BACKBONE,
)
def build_deeplab_v3plus(config: EncoderOptions) -> keras.Model:
    """ResNet50, atrous spatial pyramid pooling and a small decoder.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    inputs, x = encoder_input(config, MULTIPLE)
    encoder = build_encoder(x, config, BACKBONE)
    # The originals tap inside of the blocks, before their last convolution.
    low, high = (encoder.outputs[f"{block}_2_relu"] for block in ("conv2_block3", "conv4_block6"))
    x = layers.Concatenate()([upsample(_pyramid(high), 4), _conv(low, 48)])
    for _ in range(2):
        # Two activations, one on either side of the normalisation: so do the originals.
        x = _conv(x, FILTERS, 3, activation="relu")
    # The originals enlarge the features, which gives the same scores at 16 times the work.
    return keras.Model(inputs, segmentation_head(x, config, factor=4), name="deeplab_v3plus")
