"""Augmentation on the device: the same maths as in the workers, for a batch, with `keras.ops`.

It runs within the training step, on any engine. Its two halves, the field and the values, are
those of `flexseg.augment.fields` and `flexseg.augment.photometric`; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from keras import ops

from flexseg.augment.device import BORDERS, Arrays, Slots
from flexseg.augment.fields import BORDER_PIXEL, CENTER, Size
from flexseg.augment.photometric import (
    BIAS_TERMS,
    BLUR_REACH,
    CURVE_WAVES,
    bias_terms,
    stain_axes,
)
from flexseg.backend import Tensor
from flexseg.dataset.ignored.pixels import IGNORED

_CONSTANT, _EDGE, _REFLECT, _PIXEL = (
    BORDERS.index(name) for name in ("constant", "edge", "reflect", "pixel")
)
_CUBIC = -0.75  # the coefficient of OpenCV's cubic kernel

Adjust = Callable[[Tensor, Arrays, Slots], Tensor]
# The photometric transforms: (images, arrays of the batch, slots) -> images.
ADJUST: dict[str, Adjust] = {}


def _adjusts(name: str) -> Callable[[Adjust], Adjust]:
    def add(function: Adjust) -> Adjust:
        ADJUST[name] = function
        return function

    return add


def augment(x: Arrays, y: Tensor, slots: Slots) -> tuple[Tensor, Tensor]:
    """Images and labels of a batch of `DeviceAugmenter`, augmented.

    Returns
    -------
    images : [B, H, W, C] float32 in 0..255.
    labels : [B, H, W] as given.
    """
    image = x["image"]
    eight_bit = "uint8" in str(image.dtype)
    at = _coordinates(x, slots, image.shape[1:3])
    classes = ops.cast(y, "int32")[..., None]
    corner = _corner(classes)
    beyond = ops.where(corner == IGNORED, corner, ops.zeros_like(corner))
    labels = _sampled(classes, at, x["border"], _nearest, beyond)
    image = ops.cast(image, "float32")
    takes_pixel = ops.reshape(x["border"] == _PIXEL, (-1, 1, 1, 1)) & (_corner(classes) == 0)
    outside = ops.where(takes_pixel, _corner(image), ops.zeros_like(_corner(image)))
    taps = _linear if slots.interpolation == "bilinear" else _cubic
    image = _sampled(image, at, x["border"], taps, outside)
    for name in slots.adjustments:
        image = ADJUST[name](image, x, slots)
    if slots.adjustments or eight_bit:
        image = ops.clip(image, 0.0, 255.0)
    return (ops.round(image) if eight_bit else image), ops.cast(labels[..., 0], y.dtype)


def _corner(image: Tensor) -> Tensor:
    """The pixel [B, 1, 1, C] that the border "pixel" repeats."""
    row, column = (min(n, m - 1) for n, m in zip(BORDER_PIXEL, image.shape[1:3], strict=True))
    return image[:, row : row + 1, column : column + 1]


def _coordinates(x: Arrays, slots: Slots, size: Size) -> Tensor:
    """Where each pixel looks [B, H, W, 2], see `fields.coordinates`."""
    height, width = size
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    at = ops.convert_to_tensor(np.stack([columns, rows], axis=-1)[None])
    if slots.grid is not None:
        at = at + ops.image.resize(
            x["grid"], (height, width), interpolation="bilinear", data_format="channels_last"
        )
    for ring in reversed(range(slots.radial)):
        numbers = x["radial"][:, ring, None, None, :]
        offset = at - numbers[..., 0:2]
        distance = ops.sqrt(ops.sum(ops.square(offset), axis=-1, keepdims=True))
        distance = distance / numbers[..., 2:3]
        angle = (np.pi / 2) * ops.clip(distance, CENTER, 1.0)
        factor = ops.power(ops.sin(angle), numbers[..., 3:4]) - 1.0
        at = at + offset * ops.where(distance < 1.0, factor, ops.zeros_like(factor))
    a = x["affine"][:, None, None]
    return ops.stack(
        [a[..., i, 0] * at[..., 0] + a[..., i, 1] * at[..., 1] + a[..., i, 2] for i in range(2)],
        axis=-1,
    )


# A pixel's value is a sum over neighbours: how far each is from the first, and its weight.
Taps = Callable[[Tensor], tuple[Tensor, list[tuple[int, Tensor]]]]


def _nearest(at: Tensor) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    return ops.round(at), [(0, None)]


def _linear(at: Tensor) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    first = ops.floor(at)
    share = at - first
    return first, [(0, 1.0 - share), (1, share)]


def _cubic(at: Tensor) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    first = ops.floor(at)
    t = at - first

    def near(d: Tensor) -> Tensor:
        return ((_CUBIC + 2.0) * d - (_CUBIC + 3.0)) * d * d + 1.0

    def far(d: Tensor) -> Tensor:
        return _CUBIC * (((d - 5.0) * d + 8.0) * d - 4.0)

    return first, [(-1, far(1.0 + t)), (0, near(t)), (1, near(1.0 - t)), (2, far(2.0 - t))]


def _sampled(image: Tensor, at: Tensor, border: Tensor, taps: Taps, outside: Tensor) -> Tensor:
    """Image [B, H, W, C] at the coordinates [B, H, W, 2] (x, y); `outside` is [B, 1, 1, C]."""
    count, height, width, channels = ops.shape(image)
    pixels = ops.reshape(image, (count * height * width, channels))
    start = ops.reshape(ops.arange(count) * (height * width), (-1, 1, 1))
    border = ops.reshape(border, (-1, 1, 1))
    filled = ops.logical_or(border == _CONSTANT, border == _PIXEL)[..., None]
    left, across = taps(at[..., 0])
    top, down = taps(at[..., 1])
    result = None
    for step_y, weight_y in down:
        y = ops.cast(top, "int32") + step_y
        for step_x, weight_x in across:
            x = ops.cast(left, "int32") + step_x
            index = start + _folded(y, height, border) * width + _folded(x, width, border)
            value = ops.take(pixels, index, axis=0)
            beyond = (y < 0) | (y >= height) | (x < 0) | (x >= width)
            value = ops.where(ops.logical_and(beyond[..., None], filled), outside, value)
            if weight_x is None:
                return value
            value = value * (weight_x * weight_y)[..., None]
            result = value if result is None else result + value
    return result


def _folded(index: Tensor, length: int, border: Tensor) -> Tensor:
    """Indices within 0..length - 1 that stand for any: mirrored, or the nearest."""
    period = max(2 * (length - 1), 1)
    folded = ops.mod(index, period)
    mirrored = ops.minimum(folded, period - folded) if length > 1 else ops.zeros_like(index)
    return ops.where(border == _REFLECT, mirrored, ops.clip(index, 0, length - 1))


def _per_sample(values: Tensor) -> Tensor:
    return ops.reshape(values, (-1, 1, 1, 1))


@_adjusts("noise")
def _noise(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    shape = ops.shape(image)
    values = _normal(x["noise_seed"], shape[1] * shape[2] * shape[3])
    amplitude = _per_sample(x["noise_std"]) * ops.std(image, axis=(1, 2, 3), keepdims=True)
    return image + amplitude * ops.reshape(values, shape)


def _normal(seeds: Tensor, count: int) -> Tensor:
    """See `photometric.normal`: [B, count]."""
    index = ops.arange(count, dtype="int32")[None] + seeds[:, None]
    first = _uniform(_hash(index))
    second = _uniform(_hash(ops.bitwise_xor(index, _int(0x5BD1E995))))
    return ops.sqrt(-2.0 * ops.log(first)) * ops.cos(2 * np.pi * second)


def _hash(index: Tensor) -> Tensor:
    mixed = ops.bitwise_xor(index, _shift(index, 16)) * _int(0x85EBCA6B)
    mixed = ops.bitwise_xor(mixed, _shift(mixed, 13)) * _int(0xC2B2AE35)
    return ops.bitwise_xor(mixed, _shift(mixed, 16))


def _int(value: int) -> Tensor:
    return np.array(value, np.uint32).astype(np.int32)


def _shift(value: Tensor, bits: int) -> Tensor:
    return ops.bitwise_and(ops.right_shift(value, bits), (1 << (32 - bits)) - 1)


def _uniform(value: Tensor) -> Tensor:
    return (ops.cast(_shift(value, 8), "float32") + 0.5) * 2.0**-24


@_adjusts("blur")
def _blur(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    sigma = ops.maximum(x["blur_sigma"], 1e-6)
    steps = np.arange(-slots.blur_reach, slots.blur_reach + 1)
    offsets = ops.convert_to_tensor(steps.astype(np.float32))[None]
    weights = ops.exp(-ops.square(offsets) / (2.0 * ops.square(sigma)[:, None]))
    within = ops.abs(offsets) <= ops.ceil(BLUR_REACH * x["blur_sigma"])[:, None]
    weights = ops.where(within, weights, ops.zeros_like(weights))
    weights = weights / ops.sum(weights, axis=1, keepdims=True)
    for axis in (1, 2):
        length = image.shape[axis]
        index = np.clip(np.arange(length)[None] + steps[:, None], 0, length - 1)
        image = sum(
            ops.take(image, index[i], axis=axis) * _per_sample(weights[:, i])
            for i in range(len(steps))
        )
    return image


@_adjusts("low_resolution")
def _low_resolution(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    count, height, width, channels = ops.shape(image)
    for axis in "yx":
        first, second = (x[f"low_resolution_{part}_{axis}"] for part in ("first", "second"))
        share = x[f"low_resolution_weight_{axis}"]
        if axis == "y":
            lines = ops.reshape(image, (count * height, width * channels))
            start = (ops.arange(count) * height)[:, None]
            share = share[:, :, None, None]
        else:
            lines = ops.reshape(image, (count * height * width, channels))
            start = ops.reshape(ops.arange(count * height) * width, (count, height, 1))
            first, second, share = first[:, None], second[:, None], share[:, None, :, None]
        low, high = (
            ops.reshape(ops.take(lines, start + index, axis=0), (count, height, width, channels))
            for index in (first, second)
        )
        image = low * (1.0 - share) + high * share
    return image


@_adjusts("sharpening")
def _sharpening(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    total = image
    for axis in (1, 2):
        length = image.shape[axis]
        before = np.abs(np.arange(length) - 1) % max(length, 1)
        after = np.concatenate([np.arange(1, length), [max(length - 2, 0)]])
        total = total + ops.take(total, before, axis=axis) + ops.take(total, after, axis=axis)
    k = _per_sample(x["sharpening_k"])
    return image + k * (9.0 * image - total)


@_adjusts("contrast")
def _contrast(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    mean = ops.mean(image, axis=(1, 2, 3), keepdims=True)
    return (image - mean) * _per_sample(x["contrast_factor"]) + mean


@_adjusts("gamma")
def _gamma(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    exponent, inverted = _per_sample(x["gamma_exponent"]), _per_sample(x["gamma_inverted"])
    value = ops.clip(image / 255.0, 0.0, 1.0)
    value = ops.where(inverted > 0, 1.0 - value, value)
    value = ops.power(value, exponent)
    changed = 255.0 * ops.where(inverted > 0, 1.0 - value, value)
    # An untouched image keeps values above 255 for the brightness that follows.
    return ops.where(exponent == 1.0, image, changed)


@_adjusts("brightness")
def _brightness(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    factor, offset = _per_sample(x["brightness_factor"]), _per_sample(x["brightness_offset"])
    return ops.abs(ops.maximum(image, 0.0) * factor + offset)


@_adjusts("window")
def _window(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    low, high = _per_sample(x["window_low"]), _per_sample(x["window_high"])
    return (image - 255.0 * low) / (high - low)


@_adjusts("curve")
def _curve(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    channels = image.shape[-1]
    strength, inverted = _per_sample(x["curve_strength"]), _per_sample(x["curve_inverted"])
    numbers = _normal(x["curve_seed"], channels * CURVE_WAVES)
    numbers = ops.reshape(numbers, (-1, 1, 1, channels, CURVE_WAVES))
    numbers = numbers / ops.sum(ops.abs(numbers), axis=-1, keepdims=True)
    separate = _per_sample(x["curve_separate"])[..., None]
    waves = strength[..., None] * ops.where(separate > 0, numbers, numbers[..., :1, :])
    value = ops.clip(image / 255.0, 0.0, 1.0)
    value = ops.where(inverted > 0, 1.0 - value, value)
    angle = np.pi * value
    for wave in range(1, CURVE_WAVES + 1):
        value = value + waves[..., wave - 1] / (np.pi * wave) * ops.sin(wave * angle)
    return ops.where((strength > 0) | (inverted > 0), 255.0 * value, image)


@_adjusts("color")
def _color(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    channels = image.shape[-1]
    numbers = _normal(x["color_seed"], channels * (channels + 1))
    numbers = ops.reshape(numbers, (-1, 1, channels + 1, channels))
    numbers = _per_sample(x["color_strength"]) * numbers
    mean = ops.mean(image, axis=(1, 2), keepdims=True)
    mixed = ops.matmul(image - mean, ops.eye(channels, dtype="float32") + numbers[:, :, :-1])
    return mixed + mean + ops.std(image, axis=(1, 2, 3), keepdims=True) * numbers[:, :, -1:]


@_adjusts("stain")
def _stain(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    channels = image.shape[-1]
    strength, offset = _per_sample(x["stain_strength"]), _per_sample(x["stain_offset"])
    numbers = ops.reshape(_normal(x["stain_seed"], 2 * channels), (-1, 1, 2, channels))
    to_stains, from_stains = stain_axes(channels)
    density = -ops.log((ops.clip(image, 0.0, 255.0) + 1.0) / 256.0)
    amounts = ops.matmul(density, to_stains) * ops.exp(strength * numbers[:, :, :1])
    amounts = amounts + offset * numbers[:, :, 1:]
    changed = 256.0 * ops.exp(-ops.matmul(amounts, from_stains)) - 1.0
    return ops.where((strength > 0) | (offset > 0), changed, image)


@_adjusts("bias")
def _bias(image: Tensor, x: Arrays, slots: Slots) -> Tensor:
    numbers = ops.reshape(_normal(x["bias_seed"], BIAS_TERMS), (-1, 1, BIAS_TERMS, 1))
    terms = bias_terms(image.shape[1], image.shape[2])[None]
    return image * ops.exp(_per_sample(x["bias_strength"]) * ops.matmul(terms, numbers))
