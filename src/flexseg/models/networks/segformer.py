"""SegFormer of Xie et al. 2021: the MiT encoder without position codes, an all-MLP decoder.

Grids of tokens are [B, H, W, C]. The sizes B0 to B5 differ in width, in blocks per stage and
in the decoder's width. The network serves any size: convolutions tell it about places.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import keras
from keras import layers
from pydantic import Field

from flexseg.backend import Tensor
from flexseg.config.model import NetworkConfig
from flexseg.models.architecture import register_model
from flexseg.models.layers import conv_block, network_input, segmentation_head, upsample

MULTIPLE = 32
HEADS = (1, 2, 5, 8)  # per stage; the channels are these multiples of the width
REDUCTIONS = (8, 4, 2, 1)  # per stage: keys and values are fewer by this factor, squared
PATCHES = ((7, 4), (3, 2), (3, 2), (3, 2))  # per stage: kernel and stride of patch merging
EXPANSION = 4  # of the MLPs
DROP_PATH = 0.1  # of the last block; it grows linearly from 0 at the first
DROPOUT = 0.1  # before the scores


class SegFormerConfig(NetworkConfig):
    """Options of the SegFormer."""

    segformer: Literal["B0", "B1", "B2", "B3", "B4", "B5"] = Field(
        "B0", description="Size of the encoder (MiT)."
    )


class Size(NamedTuple):
    """One of the published sizes."""

    width: int
    blocks: tuple[int, int, int, int]
    decoder: int


SIZES = {
    "B0": Size(32, (2, 2, 2, 2), 256),
    "B1": Size(64, (2, 2, 2, 2), 256),
    "B2": Size(64, (3, 4, 6, 3), 768),
    "B3": Size(64, (3, 4, 18, 3), 768),
    "B4": Size(64, (3, 8, 27, 3), 768),
    "B5": Size(64, (3, 6, 40, 3), 768),
}


def _dense(channels: int) -> Any:
    """A linear layer of the encoder, initialised as published."""
    return layers.Dense(channels, kernel_initializer=_narrow_normal())


def _conv(channels: int, kernel: int, stride: int) -> Any:
    """A convolution of the encoder without margins, initialised as published."""
    return layers.Conv2D(channels, kernel, stride, kernel_initializer=_fan_out_normal())


def _narrow_normal() -> Any:
    return keras.initializers.TruncatedNormal(stddev=0.02)


def _fan_out_normal() -> Any:
    """The published start of convolutions; Keras' own would nearly silence depthwise ones."""
    return keras.initializers.VarianceScaling(2, "fan_out", "untruncated_normal")


def _overlapping_patches(x: Tensor, channels: int, kernel: int, stride: int) -> Tensor:
    """[B, H, W, C] to [B, H / stride, W / stride, channels]; neighbouring patches overlap."""
    # Equal margins, as published; "same" padding would shift the patches.
    x = layers.ZeroPadding2D(kernel // 2)(x)
    x = _conv(channels, kernel, stride)(x)
    return layers.LayerNormalization(epsilon=1e-5)(x)


def _attention(x: Tensor, heads: int, reduction: int) -> Tensor:
    """Self-attention whose keys and values come from a grid smaller by `reduction`."""
    _, height, width, channels = x.shape
    queries = layers.Reshape((height * width, channels))(x)
    if reduction > 1:
        x = _conv(channels, reduction, reduction)(x)
        x = layers.LayerNormalization(epsilon=1e-5)(x)
    values = layers.Reshape((x.shape[1] * x.shape[2], channels))(x)
    attend = layers.MultiHeadAttention(
        heads, channels // heads, kernel_initializer=_narrow_normal()
    )
    x = attend(queries, values)
    return layers.Reshape((height, width, channels))(x)


def _mix_mlp(x: Tensor) -> Tensor:
    """MLP with a 3x3 depthwise convolution, whose zero margins tell tokens where they are."""
    channels = x.shape[-1]
    x = _dense(EXPANSION * channels)(x)
    x = layers.DepthwiseConv2D(3, padding="same", depthwise_initializer=_fan_out_normal())(x)
    return _dense(channels)(layers.Activation("gelu")(x))


def _add(x: Tensor, branch: Tensor, drop: float) -> Tensor:
    """x + branch; in training, the branch of an image is dropped at that rate (Huang 2016)."""
    if drop > 0:
        branch = layers.Dropout(drop, noise_shape=(None, 1, 1, 1))(branch)
    return layers.Add()([x, branch])


def _encoder(x: Tensor, size: Size) -> list[Tensor]:
    """Features at 1/4, 1/8, 1/16 and 1/32, shallow first."""
    features = []
    block, last = 0, sum(size.blocks) - 1
    for stage, heads in enumerate(HEADS):
        x = _overlapping_patches(x, heads * size.width, *PATCHES[stage])
        for _ in range(size.blocks[stage]):
            drop = DROP_PATH * block / last
            y = layers.LayerNormalization(epsilon=1e-6)(x)
            x = _add(x, _attention(y, heads, REDUCTIONS[stage]), drop)
            y = layers.LayerNormalization(epsilon=1e-6)(x)
            x = _add(x, _mix_mlp(y), drop)
            block += 1
        x = layers.LayerNormalization(epsilon=1e-6)(x)
        features.append(x)
    return features


@register_model(
    "SegFormer",
    paper="Xie 2021, SegFormer: simple and efficient design for semantic segmentation with "
    "transformers",
    multiple=MULTIPLE,
)
def build_segformer(config: SegFormerConfig) -> keras.Model:
    """Hierarchical transformer with a light all-MLP decoder, in the published sizes B0 to B5.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    size = SIZES[config.segformer]
    inputs, x = network_input(config, MULTIPLE)
    branches = []
    for stage, feature in enumerate(_encoder(x, size)):
        branch = layers.Dense(size.decoder)(feature)
        branches.append(upsample(branch, 2**stage) if stage else branch)
    x = layers.Concatenate()(branches[::-1])
    x = conv_block(x, size.decoder, 1, use_bias=False)
    x = layers.Dropout(DROPOUT)(x)
    return keras.Model(inputs, segmentation_head(x, config, factor=4), name="segformer")
