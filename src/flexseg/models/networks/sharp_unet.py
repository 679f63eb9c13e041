"""Sharp U-Net of Zunair and Ben Hamza 2021 as the original systems build it.

In their decoder only the last level has convolutions; the paper has two at each level.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers
from pydantic import Field

from flexseg.backend import Tensor
from flexseg.config.base import Counts, SizePair
from flexseg.config.model import NetworkConfig
from flexseg.models.architecture import register_model
from flexseg.models.convolution import Conv2DTranspose
from flexseg.models.layers import conv_block, network_input, segmentation_head

# Eight times the centre minus its neighbours: the paper's sharpening kernel.
SHARPEN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], "float32")


class SharpUNetConfig(NetworkConfig):
    """Options of the SharpUNet."""

    filters: Counts = Field([32, 64, 128, 256], description="Filters per level.")
    max_filter: int = Field(512, gt=0, description="Filters of the bottleneck.")
    base_ksize: SizePair = Field((3, 3), description="Kernel.")
    dilation: SizePair = Field((1, 1), description="Dilation, the same at each level.")


def _double_conv(x: Tensor, filters: int, config: SharpUNetConfig) -> Tensor:
    """[B, H, W, C] to [B, H, W, filters]."""
    for _ in range(2):
        x = conv_block(x, filters, config.base_ksize, norm=None, dilation_rate=config.dilation)
    return x


def _sharpened(x: Tensor) -> Tensor:
    """Each channel of [B, H, W, C] through the frozen sharpening kernel."""
    return layers.DepthwiseConv2D(
        3,
        padding="same",
        use_bias=False,
        depthwise_initializer=keras.initializers.Constant(SHARPEN[:, :, None, None]),
        trainable=False,
    )(x)


def sharp_unet_multiple(config: SharpUNetConfig) -> int:
    """Sizes must survive one halving per entry of `filters`."""
    return 2 ** len(config.filters)


@register_model(
    "SharpUNet",
    "TensorFlowFlexSharpUNet",
    "TensorflowSharpUNet",
    paper="Zunair 2021, Sharp U-Net: depthwise convolutional network for biomedical image "
    "segmentation",
    multiple=sharp_unet_multiple,
)
def build_sharp_unet(config: SharpUNetConfig) -> keras.Model:
    """UNet whose skip connections are sharpened by a fixed kernel; a light decoder.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    inputs, x = network_input(config, sharp_unet_multiple(config))
    skips = []
    for filters in config.filters:
        x = _double_conv(x, filters, config)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _double_conv(x, config.max_filter, config)
    for skip in reversed(skips):
        x = Conv2DTranspose(skip.shape[-1], 2, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, _sharpened(skip)])
    # Weight files of the originals hold no convolutions of the other decoder levels.
    x = _double_conv(x, config.filters[0], config)
    return keras.Model(inputs, segmentation_head(x, config), name="sharp_unet")
