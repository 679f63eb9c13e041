"""MultiResUNet of Ibtehaz and Rahman 2019."""

from __future__ import annotations

import keras
from keras import layers

from flexseg.backend import Tensor
from flexseg.errors import ConfigError
from flexseg.models.architecture import register_model
from flexseg.models.convolution import Conv2DTranspose
from flexseg.models.layers import conv_block, network_input, normalize, segmentation_head
from flexseg.models.networks.unet import unet_multiple
from flexseg.models.options import LevelOptions


def multires_filters(filters: int) -> tuple[int, int, int]:
    """Filters of the three chained convolutions that stand for 3 x 3, 5 x 5 and 7 x 7 kernels."""
    width = 1.67 * filters
    return int(0.167 * width), int(0.333 * width), int(0.5 * width)


def _conv(x: Tensor, filters: int, kernel: int, act: str | None) -> Tensor:
    return conv_block(x, filters, kernel, act=act, use_bias=False)


def _sum(x: Tensor, shortcut: Tensor) -> Tensor:
    """Residual sum, ReLU, batch normalisation."""
    return normalize(layers.Activation("relu")(layers.Add()([x, shortcut])))


def _multires_block(x: Tensor, filters: int) -> Tensor:
    """[B, H, W, C] to [B, H, W, sum(multires_filters(filters))]."""
    scales = []
    y = x
    for width in multires_filters(filters):
        y = _conv(y, width, 3, "relu")
        scales.append(y)
    shortcut = _conv(x, sum(multires_filters(filters)), 1, None)
    return _sum(normalize(layers.Concatenate()(scales)), shortcut)


def _res_path(x: Tensor, filters: int, length: int) -> Tensor:
    """[B, H, W, C] to [B, H, W, filters] by `length` residual convolutions."""
    for _ in range(length):
        x = _sum(_conv(x, filters, 3, None), _conv(x, filters, 1, None))
    return x


def check_multires_unet(config: LevelOptions) -> None:
    """Refuse values that the network cannot be built with.

    Raises
    ------
    ConfigError : too few filters to share out between three convolutions.
    """
    if min(multires_filters(config.base_filters)) < 1:
        raise ConfigError(
            f"base_filters = {config.base_filters} leaves a convolution of MultiResUNet without "
            "filters: the first of three gets about a quarter of them.",
            "Use 4 or more.",
            "[model] base_filters",
        )


@register_model(
    "MultiResUNet",
    "TensorFlowFlexMultiResUNet",
    "TensorflowMultiResUNet",
    paper="Ibtehaz 2019, MultiResUNet: rethinking the U-Net architecture for multimodal "
    "biomedical image segmentation",
    multiple=unet_multiple,
    check=check_multires_unet,
)
def build_multires_unet(config: LevelOptions) -> keras.Model:
    """UNet of multi-resolution residual blocks, with residual paths as skip connections.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    levels = config.num_layers
    filters = [config.base_filters * 2**level for level in range(levels)]
    inputs, x = network_input(config, unet_multiple(config))
    skips = []
    for level in range(levels - 1):
        x = _multires_block(x, filters[level])
        skips.append(_res_path(x, filters[level], levels - level))
        x = layers.MaxPooling2D(2)(x)
    x = _multires_block(x, filters[-1])
    for level in reversed(range(levels - 1)):
        x = Conv2DTranspose(filters[level], 2, strides=2, padding="same")(x)
        x = _multires_block(layers.Concatenate()([x, skips[level]]), filters[level])
    return keras.Model(inputs, segmentation_head(x, config), name="multires_unet")
