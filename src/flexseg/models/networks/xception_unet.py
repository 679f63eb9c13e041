"""UNet-like network of separable convolutions with residuals, after Chollet's Xception 2017."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from flexseg.backend import Tensor
from flexseg.errors import ConfigError
from flexseg.models.architecture import register_model
from flexseg.models.layers import conv_block, network_input, normalize, segmentation_head, upsample
from flexseg.models.networks.unet import dilation_schedule
from flexseg.models.options import Dilation, LevelOptions


class XceptionLikeUNetConfig(LevelOptions):
    """Options of the XceptionLikeUNet."""

    dilation: Dilation = (1, 1)


def _pair(x: Tensor, layer: Callable[[], keras.layers.Layer]) -> Tensor:
    """Twice ReLU, convolution, batch normalisation."""
    for _ in range(2):
        x = normalize(layer()(layers.Activation("relu")(x)))
    return x


def _down(x: Tensor, filters: int, dilation: int) -> Tensor:
    """[B, H, W, C] to [B, H / 2, W / 2, filters]."""
    residual = layers.Conv2D(filters, 1, strides=2, padding="same")(x)
    x = _pair(
        x,
        lambda: layers.SeparableConv2D(filters, 3, padding="same", dilation_rate=dilation),
    )
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    return layers.Add()([x, residual])


def _up(x: Tensor, filters: int) -> Tensor:
    """[B, H, W, C] to [B, 2 H, 2 W, filters]."""
    residual = layers.Conv2D(filters, 1)(upsample(x, interpolation="nearest"))
    x = _pair(x, lambda: layers.Conv2DTranspose(filters, 3, padding="same"))
    return layers.Add()([upsample(x, interpolation="nearest"), residual])


def xception_unet_multiple(config: XceptionLikeUNetConfig) -> int:
    """The stem and each further level halve."""
    return 2**config.num_layers


def check_xception_unet(config: XceptionLikeUNetConfig) -> None:
    """Refuse values that the network cannot be built with.

    Raises
    ------
    ConfigError : the dilation is not square.
    """
    if config.dilation[0] != config.dilation[1]:
        raise ConfigError(
            f"dilation = {config.dilation} is not square.",
            "Use two equal numbers.",
            "[model] dilation",
        )


@register_model(
    "XceptionLikeUNet",
    "TensorflowXceptionLikeUNet",
    paper="Chollet 2017, Xception: deep learning with depthwise separable convolutions; as a "
    "UNet in Keras' example of image segmentation",
    multiple=xception_unet_multiple,
    check=check_xception_unet,
)
def build_xception_unet(config: XceptionLikeUNetConfig) -> keras.Model:
    """Encoder of separable convolutions and decoder, joined by residuals instead of skips.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    filters = [config.base_filters * 2**level for level in range(config.num_layers)]
    dilations = dilation_schedule(config.dilation, config.num_layers - 1)
    inputs, x = network_input(config, xception_unet_multiple(config))
    x = conv_block(x, filters[0], strides=2)
    for width, dilation in zip(filters[1:], dilations, strict=True):
        x = _down(x, width, dilation)
    for width in reversed(filters):
        x = _up(x, width)
    outputs = segmentation_head(x, config, kernel=3)
    return keras.Model(inputs, outputs, name="xception_unet")
