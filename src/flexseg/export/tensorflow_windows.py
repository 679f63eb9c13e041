"""Convolutions, pooling and resizing as ONNX means them, by TensorFlow on images [N, H, W, C]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flexseg.errors import ConfigError
from flexseg.export.tensorflow_weights import constant

_Attributes = Mapping[str, Any]
_Pads = list[list[int]]


def convolved(image: tf.Tensor, taken: Sequence[Any], attributes: _Attributes) -> tf.Tensor:
    """A convolution; weights [filters, C / groups, rows, columns], bias [filters] or none."""
    kernel = np.transpose(taken[0], (2, 3, 1, 0))
    image, padding = _padded(image, kernel.shape[:2], attributes)
    groups, channels = attributes.get("group", 1), image.shape[-1]
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    if groups > 1 and groups == channels:
        if max(strides) > 1 and max(dilations) > 1:  # TensorFlow gives another size
            raise _unknown("Conv of each channel by itself, with strides and dilations")
        rows, columns, _, filters = kernel.shape
        kernel = kernel.reshape(rows, columns, channels, filters // channels)
        found = tf.nn.depthwise_conv2d(
            image, constant(kernel), [1, *strides, 1], padding, None, dilations
        )
    else:
        parts = [
            tf.nn.conv2d(part, constant(weights), strides, padding, dilations=dilations)
            for part, weights in zip(
                tf.split(image, groups, -1) if groups > 1 else [image],
                np.split(kernel, groups, -1),
                strict=True,
            )
        ]
        found = parts[0] if groups == 1 else tf.concat(parts, -1)
    return _with_bias(found, taken[1:])


def convolved_back(image: tf.Tensor, taken: Sequence[Any], attributes: _Attributes) -> tf.Tensor:
    """A transposed convolution; weights [C, filters, rows, columns]."""
    kernel = np.transpose(taken[0], (2, 3, 1, 0))
    strides = attributes.get("strides", [1, 1])
    if attributes.get("group", 1) > 1 or "output_shape" in attributes:
        raise _unknown("ConvTranspose of several groups, or of a given size")
    (top, bottom), (left, right) = _pads(attributes)
    more = attributes.get("output_padding", [0, 0])
    dilations = attributes.get("dilations", [1, 1])
    sizes = [
        (side - 1) * stride + (length - 1) * dilation + 1 + extra
        for side, stride, length, dilation, extra in zip(
            image.shape[1:3], strides, kernel.shape[:2], dilations, more, strict=True
        )
    ]
    shape = [_count(image), *sizes, kernel.shape[2]]
    found = tf.nn.conv2d_transpose(
        image, constant(kernel), shape, strides, "VALID", dilations=dilations
    )
    found = found[:, top : sizes[0] - bottom, left : sizes[1] - right]
    return _with_bias(found, taken[1:])


def highest(image: tf.Tensor, taken: Sequence[Any], attributes: _Attributes) -> tf.Tensor:
    """The highest value of each window."""
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    image, padding = _padded(image, kernel, attributes, image.dtype.min)
    return tf.nn.max_pool2d(image, kernel, strides, padding)


def averaged(image: tf.Tensor, taken: Sequence[Any], attributes: _Attributes) -> tf.Tensor:
    """The mean of each window; what lies outside of the image counts only if it is to."""
    kernel, strides = attributes["kernel_shape"], attributes.get("strides", [1, 1])
    padded, padding = _padded(image, kernel, attributes)
    if padding == "VALID" and padded is not image and not attributes.get("count_include_pad", 0):
        raise _unknown("AveragePool of uneven borders")
    return tf.nn.avg_pool2d(padded, kernel, strides, padding)


def resized(image: tf.Tensor, taken: Sequence[Any], attributes: _Attributes) -> tf.Tensor:
    """Images at another size: bilinearly, or by the nearest pixel."""
    _, scales, sizes = (*taken, None, None)[:3]
    if sizes is not None:
        height, width = (int(size) for size in sizes[2:])
    else:
        height, width = (
            int(np.floor(side * scale))
            for side, scale in zip(image.shape[1:3], scales[2:], strict=True)
        )
    place = attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    mode = attributes.get("mode", b"nearest").decode()
    rounding = attributes.get("nearest_mode", b"round_prefer_floor").decode()
    places = {
        "half_pixel": {"half_pixel_centers": True, "align_corners": False},
        "asymmetric": {"half_pixel_centers": False, "align_corners": False},
        "align_corners": {"half_pixel_centers": False, "align_corners": True},
    }
    if place in places and mode == "linear":
        return tf.raw_ops.ResizeBilinear(images=image, size=[height, width], **places[place])
    if mode == "nearest" and (place, rounding) in {
        ("asymmetric", "floor"),
        ("half_pixel", "round_prefer_ceil"),
    }:
        centres = place == "half_pixel"
        return tf.raw_ops.ResizeNearestNeighbor(
            images=image, size=[height, width], half_pixel_centers=centres
        )
    raise _unknown(f"Resize: {mode}, {place}, {rounding}")


def _padded(
    image: tf.Tensor, kernel: Sequence[int], attributes: _Attributes, value: float = 0
) -> tuple[tf.Tensor, str]:
    """An image, and TensorFlow's own padding of it where it is what ONNX says."""
    pads = _pads(attributes)
    given = attributes.get("auto_pad", b"NOTSET").decode()
    if given in ("SAME_UPPER", "VALID"):
        return image, "SAME" if given == "SAME_UPPER" else "VALID"
    if not np.any(pads):
        return image, "VALID"
    own = [
        _same(*one)
        for one in zip(
            image.shape[1:3],
            kernel,
            attributes.get("strides", [1, 1]),
            attributes.get("dilations", [1, 1]),
            strict=True,
        )
    ]
    if pads == own:
        return image, "SAME"
    return tf.pad(image, [[0, 0], *pads, [0, 0]], constant_values=value), "VALID"


def _same(side: int | None, length: int, stride: int, dilation: int) -> list[int]:
    """What TensorFlow adds before and after an axis, so that its length is divided by a stride."""
    reach = (length - 1) * dilation + 1
    if stride == 1:
        total = reach - 1
    elif side is None:
        return [-1, -1]
    else:
        total = max(0, (-(-side // stride) - 1) * stride + reach - side)
    return [total // 2, total - total // 2]


def _pads(attributes: _Attributes) -> _Pads:
    """Of rows and columns, before and after."""
    return np.reshape(attributes.get("pads", [0] * 4), (2, 2)).T.tolist()


def _with_bias(image: tf.Tensor, taken: Sequence[Any]) -> tf.Tensor:
    return tf.nn.bias_add(image, taken[0]) if taken and taken[0] is not None else image


def _count(image: tf.Tensor) -> Any:
    return tf.shape(image)[0] if image.shape[0] is None else image.shape[0]


def _unknown(what: str) -> ConfigError:
    return ConfigError(
        f"The network has an operator that this format does not have ({what}).",
        "Export to another format: `--to onnx` takes all networks.",
        "--to",
    )
