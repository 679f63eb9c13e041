"""Residual-encoder U-Net with instance normalisation, described by data (nnU-Net's ResEnc)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import keras
from keras import layers
from pydantic import Field

from flexseg.backend import Tensor
from flexseg.config.base import Blocks, Counts, SizePair
from flexseg.config.model import NetworkConfig
from flexseg.errors import ConfigError
from flexseg.models.architecture import register_model
from flexseg.models.convolution import Conv2DTranspose
from flexseg.models.layers import (
    conv_block,
    leaky_relu_001,
    network_input,
    normalize,
    segmentation_head,
)

T = TypeVar("T")
Norm = Literal["instance", "batch"]


class ResEncUNetConfig(NetworkConfig):
    """Options of the ResEncUNet; the last value of a list holds for all deeper stages."""

    stage_features: Counts = Field(
        [32, 64, 128, 256, 512, 512], description="Features per stage, one stage each."
    )
    stage_blocks: Blocks = Field(
        [1, 3, 4, 6],
        description="Residual blocks per stage; the last number holds for deeper ones.",
    )
    stage_kernels: list[SizePair] = Field(
        [(3, 3)], min_length=1, description="Kernel per stage, as stage_blocks."
    )
    stage_strides: list[SizePair] = Field(
        [(1, 1), (2, 2)], min_length=1, description="Stride per stage, likewise."
    )
    stage_norm: Norm = Field(
        "instance", description="Normalisation; 'batch' is several times faster on a CPU."
    )
    decoder_blocks: Blocks = Field(
        [1], description="Convolutions per decoder stage, deepest first, likewise."
    )


def per_stage(values: Sequence[T], stages: int) -> list[T]:
    """One value per stage: the last one given holds for all deeper stages, further ones rest."""
    return [values[min(stage, len(values) - 1)] for stage in range(stages)]


def resenc_multiple(config: ResEncUNetConfig) -> int:
    """Sizes must survive the strides of all stages."""
    return max(resenc_strides(config))


def resenc_strides(config: ResEncUNetConfig) -> tuple[int, int]:
    """By how much the deepest stage is smaller than the input, in height and width."""
    strides = per_stage(config.stage_strides, len(config.stage_features))
    height, width = zip(*strides, strict=True)
    return math.prod(height), math.prod(width)


def unused_by_resenc(config: ResEncUNetConfig) -> dict[str, str]:
    """Lists with more values than there are stages."""
    stages = len(config.stage_features)
    limits = dict.fromkeys(("stage_blocks", "stage_kernels", "stage_strides"), stages)
    limits["decoder_blocks"] = stages - 1
    return {
        key: f"only the first {limit} of its values are used, for as many stages."
        for key, limit in limits.items()
        if len(getattr(config, key)) > limit
    }


def check_resenc(config: ResEncUNetConfig) -> None:
    """Refuse lists that describe no network.

    Raises
    ------
    ConfigError : fewer than two stages, strides other than 1 and 2, a first stage that is not at
        full resolution, or a deepest one of one pixel, which instance normalisation would
        make 0.
    """
    stages = len(config.stage_features)
    if stages < 2:
        raise ConfigError(
            f"stage_features = {config.stage_features} describes {stages} stage.",
            "Give the features of at least two stages, e.g. [32, 64, 128].",
            "[model] stage_features",
        )
    if not {step for stride in config.stage_strides for step in stride} <= {1, 2}:
        raise ConfigError(
            f"stage_strides = {config.stage_strides} has other strides than 1 and 2.",
            "Write for example [[1, 1], [2, 2]].",
            "[model] stage_strides",
        )
    if config.stage_strides[0] != (1, 1):
        raise ConfigError(
            f"stage_strides begins with {config.stage_strides[0]}.",
            "The first stage works at full resolution: begin with [1, 1].",
            "[model] stage_strides",
        )
    height, width = resenc_strides(config)
    multiple = resenc_multiple(config)
    if (
        -(-config.image_height // multiple) * multiple <= height
        and -(-config.image_width // multiple) * multiple <= width
    ):
        raise ConfigError(
            f"{stages} stages leave one pixel of {config.image_width} x {config.image_height}.",
            "Use fewer stage_features, or a larger image_width and image_height.",
            "[model] stage_features",
        )


def _conv(x: Tensor, features: int, kernel: tuple[int, int], norm: Norm, **keys: Any) -> Tensor:
    """Convolution and normalisation, which makes a bias idle; leaky ReLU by default."""
    keys = {"act": leaky_relu_001, "use_bias": False} | keys
    return conv_block(x, features, kernel, norm=norm, **keys)


def _residual_block(
    x: Tensor, features: int, kernel: tuple[int, int], norm: Norm, stride: tuple[int, int]
) -> Tensor:
    """Two convolutions beside an average-pooled, projected shortcut (ResNet-D, He 2019)."""
    shortcut = x
    if stride != (1, 1):
        shortcut = layers.AveragePooling2D(stride)(shortcut)
    if x.shape[-1] != features:
        shortcut = layers.Conv2D(features, 1, use_bias=False)(shortcut)
        shortcut = normalize(shortcut, norm)
    x = _conv(x, features, kernel, norm, strides=stride)
    x = _conv(x, features, kernel, norm, act=None)
    return layers.Activation(leaky_relu_001)(layers.Add()([x, shortcut]))


@register_model(
    "ResEncUNet",
    "ResidualEncoderUNet",
    paper="Isensee 2024, nnU-Net revisited: a call for rigorous validation in 3D medical image "
    "segmentation",
    multiple=resenc_multiple,
    check=check_resenc,
    unused=unused_by_resenc,
    deep_supervision=True,
)
def build_resenc_unet(config: ResEncUNetConfig) -> keras.Model:
    """U-Net with a residual encoder, instance (or batch) normalisation, strided convolutions.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes]. The
    output of decoder stage i, at the resolution of encoder stage i, is the layer `decoder_i`.
    """
    features = config.stage_features
    stages = len(features)
    blocks = per_stage(config.stage_blocks, stages)
    kernels = per_stage(config.stage_kernels, stages)
    strides = per_stage(config.stage_strides, stages)
    norm = config.stage_norm

    inputs, x = network_input(config, resenc_multiple(config))
    x = _conv(x, features[0], kernels[0], norm)
    skips = []
    for stage in range(stages):
        for block in range(blocks[stage]):
            stride = strides[stage] if block == 0 else (1, 1)
            x = _residual_block(x, features[stage], kernels[stage], norm, stride)
        skips.append(x)
    for below in reversed(range(1, stages)):
        stage = below - 1
        convolutions = per_stage(config.decoder_blocks, stages - 1)[stages - 1 - below]
        x = Conv2DTranspose(features[stage], strides[below], strides=strides[below])(x)
        x = layers.Concatenate()([x, skips[stage]])
        for _ in range(convolutions):
            x = _conv(x, features[stage], kernels[stage], norm)
        x = layers.Identity(name=f"decoder_{stage}")(x)
    return keras.Model(inputs, segmentation_head(x, config), name="resenc_unet")
