"""UNet 3+ of Huang et al. 2020, without deep supervision and classification-guided module."""

from __future__ import annotations

import keras
from keras import layers

from flexseg.backend import Tensor
from flexseg.errors import ConfigError
from flexseg.models.architecture import register_model
from flexseg.models.layers import conv_block, network_input, segmentation_head, upsample
from flexseg.models.options import DropoutRate, LevelOptions

LEVELS = 5


class UNet3PlusConfig(LevelOptions):
    """Options of the UNet3Plus."""

    dropout_rate: DropoutRate = 0.0


def _conv(x: Tensor, filters: int, dropout: float) -> Tensor:
    """3 x 3 convolution, dropout, batch normalisation, ReLU."""
    return conv_block(
        x,
        filters,
        dropout=dropout,
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(1e-4),
    )


def _resized(x: Tensor, source: int, target: int) -> Tensor:
    """Features of level `source` at the resolution of level `target`."""
    if source < target:
        return layers.MaxPooling2D(2 ** (target - source))(x)
    if source > target:
        return upsample(x, 2 ** (source - target))
    return x


def _multiple(config: UNet3PlusConfig) -> int:
    return 2 ** (LEVELS - 1)


def check_unet3plus(config: UNet3PlusConfig) -> None:
    """Refuse values that the network cannot be built with.

    Raises
    ------
    ConfigError : fewer than five levels, or a dropout that would reach 1.
    """
    if config.num_layers < LEVELS:
        raise ConfigError(
            f"num_layers = {config.num_layers}, but UNet3Plus always has {LEVELS} levels.",
            f"Use {LEVELS}; more only widen the decoder, to num_layers x base_filters.",
            "[model] num_layers",
        )
    if 2 * config.dropout_rate >= 1:
        raise ConfigError(
            f"dropout_rate = {config.dropout_rate} is doubled in the second convolution of a "
            "level and would reach 1 there.",
            "Use less than 0.5.",
            "[model] dropout_rate",
        )


@register_model(
    "UNet3Plus",
    "TensorFlowFlexUNet3Plus",
    "TensorflowUNet3Plus",
    paper="Huang 2020, UNet 3+: a full-scale connected UNet for medical image segmentation",
    multiple=_multiple,
    check=check_unet3plus,
)
def build_unet3plus(config: UNet3PlusConfig) -> keras.Model:
    """UNet of five levels whose decoder sees the features of all scales at each level.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    filters, rate = config.base_filters, config.dropout_rate
    inputs, x = network_input(config, _multiple(config))
    features = []
    for level in range(LEVELS):
        if level:
            x = layers.MaxPooling2D(2)(x)
        x = _conv(_conv(x, filters * 2**level, rate), filters * 2**level, 2 * rate)
        features.append(x)
    for target in reversed(range(LEVELS - 1)):
        # Deeper entries are the decoder's already, those of the target and above the encoder's.
        scales = [
            _conv(_resized(feature, source, target), filters, rate)
            for source, feature in enumerate(features)
        ]
        features[target] = _conv(layers.Concatenate()(scales), config.num_layers * filters, rate)
    # The originals drop class scores too, which only adds noise to what is trained.
    outputs = segmentation_head(features[0], config, kernel=3)
    return keras.Model(inputs, outputs, name="unet3plus")
