"""U2-Net of Qin et al. 2020 as the original systems build it.

Any width and depth, no batch normalisation, one output.
"""

from __future__ import annotations

import keras
from keras import layers

from flexseg.backend import Tensor
from flexseg.errors import ConfigError
from flexseg.models.architecture import register_model
from flexseg.models.layers import conv_block, network_input, segmentation_head, upsample
from flexseg.models.options import LevelOptions


def _conv(x: Tensor, filters: int, dilation: int = 1) -> Tensor:
    return conv_block(x, filters, norm=None, dilation_rate=dilation)


def _rsu(x: Tensor, filters: int, middle: int, depth: int) -> Tensor:
    """Residual U-block: a UNet of `middle` filters with `depth` halvings, [B, H, W, filters]."""
    entry = _conv(x, filters)
    x = _conv(entry, middle)
    skips = [x]
    for _ in range(depth):
        x = _conv(layers.MaxPooling2D(2)(x), middle)
        skips.append(x)
    x = _conv(x, middle, dilation=2)
    for skip in reversed(skips[1:]):
        x = upsample(_conv(layers.Concatenate()([x, skip]), middle))
    x = _conv(layers.Concatenate()([x, skips[0]]), filters)
    return layers.Add()([x, entry])


def _rsu_4f(x: Tensor, filters: int, middle: int) -> Tensor:
    """Residual U-block that dilates its kernels where `_rsu` halves, [B, H, W, filters]."""
    entry = x = _conv(x, filters)
    skips = []
    for dilation in (1, 2, 4, 8):
        x = _conv(x, middle, dilation)
        skips.append(x)
    for width, dilation, skip in ((middle, 4, 2), (middle, 2, 1), (filters, 1, 0)):
        x = _conv(layers.Concatenate()([x, skips[skip]]), width, dilation)
    return layers.Add()([x, entry])


def _side_map(x: Tensor, classes: int, level: int) -> Tensor:
    """A map 0..1 of each class at full resolution from the features of one level."""
    x = layers.Conv2D(classes, 3, padding="same")(x)
    if level:
        x = upsample(x, 2**level)
    return layers.Activation("sigmoid")(x)


def u2net_multiple(config: LevelOptions) -> int:
    """Each U-block ends at the same coarsest resolution."""
    return 2 ** (config.num_layers + 1)


def check_u2net(config: LevelOptions) -> None:
    """Refuse values that the network cannot be built with.

    Raises
    ------
    ConfigError : too few filters, of which the inside of a block has a quarter.
    """
    if config.base_filters < 4:
        raise ConfigError(
            f"base_filters = {config.base_filters} leaves the inside of U2Net's first block "
            "without filters: it gets a quarter of them.",
            "Use 4 or more.",
            "[model] base_filters",
        )


@register_model(
    "U2Net",
    "TensorFlowFlexU2Net",
    "TensorflowU2Net",
    paper="Qin 2020, U2-Net: going deeper with nested U-structure for salient object detection",
    multiple=u2net_multiple,
    check=check_u2net,
)
def build_u2net(config: LevelOptions) -> keras.Model:
    """UNet whose every level is a UNet itself; the maps of all levels are fused.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    levels = config.num_layers
    filters = [config.base_filters * 2**level for level in range(levels)]
    deepest = filters[-1], filters[-1] // 2
    inputs, x = network_input(config, u2net_multiple(config))

    skips = []
    for level, width in enumerate(filters):
        x = _rsu(x, width, width // 4, levels + 1 - level)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = _rsu_4f(x, *deepest)
    skips.append(x)
    x = _rsu_4f(layers.MaxPooling2D(2)(x), *deepest)

    decoded = [x]
    x = _rsu_4f(layers.Concatenate()([upsample(x), skips[-1]]), *deepest)
    decoded.append(x)
    for level in reversed(range(levels)):
        x = layers.Concatenate()([upsample(x), skips[level]])
        x = _rsu(x, filters[level], filters[level] // 4, levels + 1 - level)
        decoded.append(x)

    sides = [_side_map(x, config.num_classes, level) for level, x in enumerate(reversed(decoded))]
    outputs = segmentation_head(layers.Concatenate()(sides), config)
    return keras.Model(inputs, outputs, name="u2net")
