"""BASNet of Qin et al. 2019: a coarse map by an encoder-decoder, refined by a second one.

The paper has 64 base_filters; its maps of the decoder levels, which only training sees, are
left out.
"""

from __future__ import annotations

import keras
from keras import layers
from pydantic import Field

from flexseg.backend import Tensor
from flexseg.config.model import NetworkConfig
from flexseg.models.architecture import register_model
from flexseg.models.layers import class_probabilities, conv_block, network_input, upsample

# Residual blocks of the six encoder stages; the first four are those of ResNet-34.
STAGES = (3, 4, 6, 3, 3, 3)
REFINEMENT_STAGES = 4


class BASNetConfig(NetworkConfig):
    """Options of the BASNet."""

    base_filters: int = Field(16, gt=0, description="Filters of the first stage.")


def _basic_block(x: Tensor, filters: int, stride: int = 1) -> Tensor:
    """The two-convolution block of ResNet-34 (He 2016), [B, H / stride, W / stride, filters]."""
    shortcut = x
    if stride > 1:
        shortcut = conv_block(x, filters, 1, act=None, strides=stride, use_bias=False)
    x = conv_block(x, filters, strides=stride, use_bias=False)
    x = conv_block(x, filters, act=None, use_bias=False)
    return layers.Activation("relu")(layers.Add()([x, shortcut]))


def _encode(x: Tensor, filters: list[int]) -> list[Tensor]:
    """Features of the six stages, each at half the resolution of the one before."""
    x = conv_block(x, filters[0])
    features = []
    for stage, (width, blocks) in enumerate(zip(filters, STAGES, strict=True)):
        wider = stage > 0 and width > filters[stage - 1]
        if stage > 0 and not wider:
            x = layers.MaxPooling2D(2)(x)
        for block in range(blocks):
            x = _basic_block(x, width, 2 if wider and block == 0 else 1)
        features.append(x)
    return features


def _predict(x: Tensor, config: BASNetConfig) -> Tensor:
    """The predict module: coarse class scores [B, H, W, classes]."""
    filters = [config.base_filters * min(2**stage, 8) for stage in range(len(STAGES))]
    features = _encode(x, filters)
    x = features[-1]
    for _ in range(3):
        x = conv_block(x, filters[-1], dilation_rate=2)
    for stage in reversed(range(len(STAGES))):
        if stage < len(STAGES) - 1:
            x = upsample(x)
        x = layers.Concatenate()([x, features[stage]])
        for width in (filters[stage], filters[stage], filters[max(0, stage - 1)]):
            x = conv_block(x, width)
    return layers.Conv2D(config.num_classes, 3, padding="same")(x)


def _refine(scores: Tensor, filters: int) -> Tensor:
    """The residual refinement module: class scores, corrected, [B, H, W, classes]."""
    x = layers.Conv2D(filters, 3, padding="same")(scores)
    features = []
    for _ in range(REFINEMENT_STAGES):
        x = conv_block(x, filters)
        features.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = conv_block(x, filters)
    for feature in reversed(features):
        x = conv_block(layers.Concatenate()([upsample(x), feature]), filters)
    residual = layers.Conv2D(scores.shape[-1], 3, padding="same")(x)
    return layers.Add(name="logits")([scores, residual])


def _multiple(config: BASNetConfig) -> int:
    return 2 ** (len(STAGES) - 1)


@register_model(
    "BASNet",
    "TensorflowBASNet",
    paper="Qin 2019, BASNet: boundary-aware salient object detection",
    multiple=_multiple,
)
def build_basnet(config: BASNetConfig) -> keras.Model:
    """ResNet-34-like encoder-decoder, and a second one that refines its class map.

    Input [B, H, W, C] on a 0..255 scale, output the refined class probabilities
    [B, H, W, classes].
    """
    inputs, x = network_input(config, _multiple(config))
    x = _refine(_predict(x, config), config.base_filters)
    return keras.Model(inputs, class_probabilities(x, config), name="basnet")
