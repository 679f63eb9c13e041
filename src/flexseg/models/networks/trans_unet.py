"""TransUNet of Chen et al. 2021 in the form of the original systems.

A U-Net, whose levels down may be those of an encoder of keras.applications, with a vision
transformer at its deepest level.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers
from pydantic import Field

from flexseg.backend import Tensor
from flexseg.config.base import Counts, Positive
from flexseg.errors import ConfigError
from flexseg.models.architecture import register_model
from flexseg.models.encoders import (
    MULTIPLE,
    build_encoder,
    encoder_input,
)
from flexseg.models.layers import (
    PatchEmbedding,
    activation,
    conv_block,
    network_input,
    normalize,
    segmentation_head,
    upsample,
)
from flexseg.models.options import EncoderOptions, FreezeBackbone, HiddenActivation

MIN_LEVELS = 3  # with an encoder
HEADS, MLP = 12, 3072  # of the paper


class TransUNetConfig(EncoderOptions):
    """Options of the TransUNet."""

    filter_num: Counts = Field([64, 128, 256, 512], description="Filters per level.")
    stack_num_down: int = Field(2, gt=0, le=100, description="Convolutions per level down.")
    stack_num_up: int = Field(2, gt=0, le=100, description="Convolutions per level up.")
    embed_dim: int = Field(768, gt=0, description="Width of the transformer.")
    num_mlp: Positive | None = Field(
        None, description="Width of the MLP in each transformer block."
    )
    num_heads: Positive | Counts | None = Field(
        None, description="Attention heads of each transformer block."
    )
    num_transformer: int = Field(12, gt=0, le=200, description="Transformer blocks.")
    activation: HiddenActivation = "relu"
    mlp_activation: str = Field("GELU", description="Activation of the MLP.")
    batch_norm: bool = Field(False, description="Batch normalisation.")
    pool: bool | Literal["max", "ave"] = Field(
        True, description="Max pooling (true), 'ave', or strided convolution (false)."
    )
    unpool: bool | Literal["bilinear", "nearest"] = Field(
        True,
        description="Bilinear upsampling (true), 'nearest', or transposed convolution (false).",
    )
    backbone: str | None = Field(
        None,
        description="Encoder from keras.applications for the levels down, e.g. 'ResNet50'; "
        "without it they are convolutions.",
    )
    freeze_backbone: FreezeBackbone = True
    freeze_batch_norm: bool = Field(
        True, description="Also keep the normalisation statistics of a trained encoder fixed."
    )


def trans_multiple(config: TransUNetConfig) -> int:
    """Sizes must survive one halving per level but the first, and those of an encoder."""
    own = 2 ** (len(config.filter_num) - 1)
    return own if config.backbone is None else max(own, MULTIPLE)


def check_trans(config: TransUNetConfig) -> None:
    """Refuse values that the network cannot be built with.

    Raises
    ------
    ConfigError : several numbers of heads, an unknown activation, or fewer levels than the
        encoder needs.
    """
    _heads(config)
    _mlp_activation(config)
    if config.backbone is None:
        return
    if len(config.filter_num) < MIN_LEVELS:
        raise ConfigError(
            f"filter_num = {config.filter_num} has {len(config.filter_num)} levels; the features "
            f"of a backbone begin at 1/2 or 1/4 of the size.",
            f"Give at least {MIN_LEVELS} numbers.",
            "[model] filter_num",
        )


def _backbone(config: TransUNetConfig) -> str | None:
    return config.backbone


def _heads(config: TransUNetConfig) -> int:
    heads = config.num_heads or HEADS
    if isinstance(heads, int):
        return heads
    if len(heads) > 1:
        raise ConfigError(
            f"num_heads = {heads} has {len(heads)} numbers; all transformer blocks are alike.",
            "Give one number.",
            "[model] num_heads",
        )
    return heads[0]


@keras.saving.register_keras_serializable("flexseg")
def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by its tanh approximation, as in the original systems; Hendrycks 2016."""
    return keras.activations.gelu(x, approximate=True)


def _mlp_activation(config: TransUNetConfig) -> Any:
    name = config.mlp_activation
    return gelu_tanh if name.lower() == "gelu" else activation(name)


def _norm(config: TransUNetConfig) -> Literal["batch"] | None:
    return "batch" if config.batch_norm else None


def _conv(
    x: Tensor, config: TransUNetConfig, filters: int, kernel: int = 3, strides: int = 1
) -> Tensor:
    """Convolution, normalisation or bias, activation."""
    return conv_block(
        x,
        filters,
        kernel,
        norm=_norm(config),
        act=config.activation,
        strides=strides,
        use_bias=not config.batch_norm,
    )


def _convs(x: Tensor, config: TransUNetConfig, filters: int, count: int) -> Tensor:
    for _ in range(count):
        x = _conv(x, config, filters)
    return x


def _down(x: Tensor, config: TransUNetConfig, filters: int) -> Tensor:
    """[B, H, W, C] to [B, H / 2, W / 2, C or filters]."""
    if config.pool is False:
        return _conv(x, config, filters, kernel=2, strides=2)
    return layers.AveragePooling2D(2)(x) if config.pool == "ave" else layers.MaxPooling2D(2)(x)


def _up(x: Tensor, config: TransUNetConfig, filters: int) -> Tensor:
    """[B, H, W, C] to [B, 2 H, 2 W, C or filters]."""
    if config.unpool is False:
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same")(x)
        x = normalize(x, _norm(config))
        return layers.Activation(activation(config.activation))(x)
    return upsample(x, 2, "nearest" if config.unpool == "nearest" else "bilinear")


def _transformer_block(x: Tensor, config: TransUNetConfig) -> Tensor:
    """x + attention, then x + MLP; both see x normalised; tokens [B, N, embed_dim].

    Each head is as wide as the tokens, and the MLP's output is activated: so do the original
    systems.
    """
    y = layers.LayerNormalization(epsilon=1e-3)(x)
    y = layers.MultiHeadAttention(_heads(config), config.embed_dim)(y, y)
    x = layers.Add()([y, x])
    y = layers.LayerNormalization(epsilon=1e-3)(x)
    for width in (config.num_mlp or MLP, config.embed_dim):
        y = layers.Dense(width)(y)
        y = layers.Activation(_mlp_activation(config))(y)
    return layers.Add()([y, x])


def _bottleneck(x: Tensor, config: TransUNetConfig) -> Tensor:
    """Transformer over all pixels of the deepest level; [B, H, W, C] to [B, H, W, filters]."""
    filters, (height, width) = config.filter_num[-1], x.shape[1:3]
    x = layers.Conv2D(filters, 1, use_bias=False)(x)
    x = PatchEmbedding(config.embed_dim)(x)
    x = layers.Reshape((height * width, config.embed_dim))(x)
    for _ in range(config.num_transformer):
        x = _transformer_block(x, config)
    x = layers.Reshape((height, width, config.embed_dim))(x)
    return layers.Conv2D(filters, 1, use_bias=False)(x)


def _features(x: Tensor, config: TransUNetConfig) -> list[Tensor]:
    """The levels down, at 1/1, 1/2, ...; None where an encoder has no feature."""
    encoded: dict[int, Tensor] = {}
    if config.backbone is not None:
        encoder = build_encoder(x, config, config.backbone)
        if config.weights is not None and config.freeze_backbone:
            encoder.freeze(batch_norm=config.freeze_batch_norm)
        encoded = {x.shape[1] // feature.shape[1]: feature for feature in encoder.features}
    features: list[Tensor] = []
    for level, filters in enumerate(config.filter_num):
        if 2**level <= max(encoded, default=0):
            features.append(encoded.get(2**level))
            continue
        if level > 0:
            x = _down(features[-1], config, filters)
        features.append(_convs(x, config, filters, config.stack_num_down))
    return features


@register_model(
    "TransUNet",
    "TensorFlowFlexTransUNet",
    "TensorflowTransUNet",
    paper="Chen 2021, TransUNet: transformers make strong encoders for medical image segmentation",
    multiple=trans_multiple,
    check=check_trans,
    backbone=_backbone,
    defaults={"num_heads": HEADS, "num_mlp": MLP},
)
def build_trans_unet(config: TransUNetConfig) -> keras.Model:
    """U-Net whose deepest level is a vision transformer over all pixels.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    start = network_input if config.backbone is None else encoder_input
    inputs, x = start(config, trans_multiple(config))
    *skips, x = _features(x, config)
    x = _bottleneck(x, config)
    for filters, skip in zip(config.filter_num[-2::-1], reversed(skips), strict=True):
        x = _conv(_up(x, config, filters), config, filters)
        if skip is not None:
            x = layers.Concatenate()([x, skip])
        x = _convs(x, config, filters, config.stack_num_up)
    return keras.Model(inputs, segmentation_head(x, config), name="trans_unet")
