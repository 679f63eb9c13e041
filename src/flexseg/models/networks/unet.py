"""UNet of Ronneberger et al. 2015 in the flexible form of the original systems.

Kernels and dilations are wide at the first level and narrow towards the bridge; dropout
grows with the level. `TensorFlowFlexUNet` and `TensorflowUNet` are this one network.
"""

from __future__ import annotations

import keras
from keras import layers
from pydantic import Field

from flexseg.backend import Tensor
from flexseg.config.base import SizePair
from flexseg.errors import ConfigError
from flexseg.models.architecture import register_model
from flexseg.models.convolution import Conv2D, Conv2DTranspose
from flexseg.models.dropout import Dropout
from flexseg.models.layers import activation, network_input, normalize, segmentation_head
from flexseg.models.options import Dilation, HiddenActivation, LevelDropoutRate, LevelOptions

DROPOUT_SEED = 137


class UNetConfig(LevelOptions):
    """Options of the UNet."""

    base_kernels: SizePair = Field(
        (3, 3), description="Kernel of the first level; each deeper level has 2 less, at least 3."
    )
    dilation: Dilation = (1, 1)
    normalization: bool = Field(False, description="Batch normalisation after each convolution.")
    activation: HiddenActivation = "relu"
    dropout_rate: LevelDropoutRate = 0.0
    dropout_seed_fixing: bool = Field(False, description="Give every dropout layer the same seed.")


def kernel_schedule(first: tuple[int, int], levels: int) -> list[int]:
    """Kernel sizes by level: k, k - 2, ..., but at least 3."""
    return [max(3, first[0] - 2 * level) if level else first[0] for level in range(levels)]


def dilation_schedule(first: tuple[int, int], levels: int) -> list[int]:
    """Dilations by level: d, d - 1, ..., but at least 1."""
    return [max(1, first[0] - level) for level in range(levels)]


def _double_conv(x: Tensor, config: UNetConfig, level: int, kernel: int, dilation: int) -> Tensor:
    """Conv, [BN], dropout, conv, [BN]; batch normalisation follows the activation."""
    filters = config.base_filters * 2**level
    rate = config.dropout_rate * level
    for position in range(2):
        x = Conv2D(
            filters,
            kernel,
            dilation_rate=dilation,
            padding="same",
            activation=activation(config.activation),
            kernel_initializer="he_normal",
        )(x)
        x = normalize(x, "batch" if config.normalization else None)
        if position == 0 and rate > 0:
            seed = DROPOUT_SEED if config.dropout_seed_fixing else None
            x = Dropout(rate, seed=seed)(x)
    return x


def unet_multiple(config: LevelOptions) -> int:
    """Sizes must survive one halving per level."""
    return 2 ** (config.num_layers - 1)


def check_dropout(rate: float, levels: int) -> None:
    """Refuse a dropout that grows with the level and would reach 1.

    Raises
    ------
    ConfigError : names the largest rate.
    """
    if rate * (levels - 1) >= 1:
        raise ConfigError(
            f"dropout_rate = {rate} grows with the level and would reach "
            f"{rate * (levels - 1):.2f} at level {levels - 1}.",
            f"Use less than {1 / (levels - 1):.3f}, or fewer num_layers.",
            "[model] dropout_rate",
        )


def check_unet(config: UNetConfig) -> None:
    """Refuse values that the network cannot be built with.

    Raises
    ------
    ConfigError : the dropout of the deepest level would reach 1, or a kernel is not square.
    """
    check_dropout(config.dropout_rate, config.num_layers)
    for key in ("base_kernels", "dilation"):
        pair = getattr(config, key)
        if pair[0] != pair[1]:
            raise ConfigError(
                f"{key} = {pair} is not square.", "Use two equal numbers.", f"[model] {key}"
            )


@register_model(
    "UNet",
    "TensorFlowFlexUNet",
    "TensorflowUNet",
    "TensorflowSlightlyFlexibleUNet",
    "FlexUNet",
    paper="Ronneberger 2015, U-Net: convolutional networks for biomedical image segmentation",
    multiple=unet_multiple,
    check=check_unet,
)
def build_unet(config: UNetConfig) -> keras.Model:
    """UNet whose kernels, dilations and dropout change with the level.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    levels = config.num_layers
    kernels = kernel_schedule(config.base_kernels, levels)
    dilations = dilation_schedule(config.dilation, levels)

    inputs, x = network_input(config, unet_multiple(config))
    skips = []
    for level in range(levels):
        x = _double_conv(x, config, level, kernels[level], dilations[level])
        if level < levels - 1:
            skips.append(x)
            x = layers.MaxPooling2D(2)(x)
    for level in reversed(range(levels - 1)):
        filters = config.base_filters * 2**level
        x = Conv2DTranspose(filters, 2, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, skips[level]])
        x = _double_conv(x, config, level, kernels[level], dilations[level])
    outputs = segmentation_head(x, config)
    return keras.Model(inputs, outputs, name="unet")
