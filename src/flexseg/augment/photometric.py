"""Photometric transforms: they change the values of an image and never touch its labels.

Images are float32 [H, W, C] on a scale of 0..255, which results may leave; they are cut to it
once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.registry import Registry

Pixels = NDArray[np.float32]
# Half the width of the blur's kernel in sigmas.
BLUR_REACH = 3
# Absorption of red, green and blue by haematoxylin, eosin and DAB (Ruifrok & Johnston 2001).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# Sine waves of a random curve, and terms of a bias field's polynomial.
CURVE_WAVES = 3
BIAS_TERMS = 5
# Random numbers that are made at once: their intermediate arrays fit the processor's cache.
_BLOCK = 2**15


@dataclass(frozen=True)
class Photometric:
    """A photometric transform of the registry.

    Attributes
    ----------
    apply : (image, **parameters) -> image.
    neutral : parameters with which nothing changes.
    pointwise : each value depends on itself alone, so 8-bit images go through a table.
    """

    apply: Callable[..., Pixels]
    neutral: dict[str, float]
    pointwise: bool

    @property
    def summary(self) -> str:
        """What it does, from its docstring."""
        return " ".join((self.apply.__doc__ or "").split())


# Entered in the order in which they are applied to a sample.
PHOTOMETRIC: Registry[Photometric] = Registry("photometric transform")


@dataclass(frozen=True)
class Adjustment:
    """A photometric transform with its parameters."""

    name: str
    parameters: dict[str, float]


def _register(
    name: str, *, pointwise: bool = False, **neutral: float
) -> Callable[[Callable[..., Pixels]], Callable[..., Pixels]]:
    def add(function: Callable[..., Pixels]) -> Callable[..., Pixels]:
        PHOTOMETRIC.register(name)(Photometric(function, neutral, pointwise))
        return function

    return add


@_register("noise", std=0.0, seed=0)
def noise(image: Pixels, *, std: float, seed: int) -> Pixels:
    """Add Gaussian noise of `std` times the image's standard deviation.

    It depends on `seed` and a value's position alone.
    """
    amplitude = np.float32(std) * image.std(dtype=np.float32)
    return image + amplitude * normal(image.size, seed).reshape(image.shape)


@_register("blur", sigma=0.0)
def blur(image: Pixels, *, sigma: float) -> Pixels:
    """Smooth by a Gaussian of `sigma` pixels, cut off at 3 sigma."""
    reach = int(np.ceil(BLUR_REACH * sigma))
    if reach == 0:
        return image
    blurred = cv2.GaussianBlur(
        image, (2 * reach + 1, 2 * reach + 1), sigma, borderType=cv2.BORDER_REPLICATE
    )
    return blurred.reshape(image.shape)


@_register("low_resolution", scale=1.0)
def low_resolution(image: Pixels, *, scale: float) -> Pixels:
    """Take every 1 / `scale`-th pixel along each axis, and interpolate linearly between them."""
    height, width = image.shape[:2]
    sampled = image
    for axis, length in enumerate((height, width)):
        sampled = sampled.take(_sampled(length, max(1, round(length * scale))), axis)
    return cv2.resize(sampled, (width, height), interpolation=cv2.INTER_LINEAR).reshape(image.shape)


def _sampled(length: int, count: int) -> NDArray[np.int32]:
    return ((np.arange(count) + 0.5) * (length / count)).astype(np.int32)


def sampled_neighbours(
    length: int, count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """For each of `length` pixels the two sampled ones around it, and the weight of the second."""
    at = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * np.float32(count / length)
    at = np.clip(at - np.float32(0.5), 0, count - 1)
    first = np.floor(at).astype(np.int32)
    second = np.minimum(first + 1, count - 1)
    source = _sampled(length, count)
    return source[first], source[second], (at - first).astype(np.float32)


@_register("sharpening", k=0.0)
def sharpening(image: Pixels, *, k: float) -> Pixels:
    """Filter by 3 x 3 weights: -`k` around, 1 + 8 `k` in the centre."""
    kernel = np.full((3, 3), -k, np.float32)
    kernel[1, 1] = 1 + 8 * k
    filtered = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return filtered.reshape(image.shape)


@_register("contrast", factor=1.0)
def contrast(image: Pixels, *, factor: float) -> Pixels:
    """Multiply the distance of each value from the image's mean by `factor`."""
    mean = np.float32(image.mean())
    return (image - mean) * np.float32(factor) + mean


@_register("gamma", pointwise=True, inverted=0.0, exponent=1.0)
def gamma(image: Pixels, *, exponent: float, inverted: float = 0.0) -> Pixels:
    """255 (v / 255)^`exponent`, or of the negative image where `inverted` is 1."""
    value = np.clip(image / np.float32(255), 0, 1)
    if inverted:
        return 255 - 255 * (1 - value) ** np.float32(exponent)
    return 255 * value ** np.float32(exponent)


@_register("brightness", pointwise=True, factor=1.0, offset=0.0)
def brightness(image: Pixels, *, factor: float, offset: float = 0.0) -> Pixels:
    """|`factor` v + `offset`|; values below 0 count as 0."""
    # Else what an earlier transform made darker than black would be mirrored into a bright grey.
    return np.abs(np.maximum(image, 0) * np.float32(factor) + np.float32(offset))


@_register("window", pointwise=True, low=0.0, high=1.0)
def window(image: Pixels, *, low: float, high: float) -> Pixels:
    """Stretch the values between the shares `low` and `high` of 0..255 to all of it."""
    return (image - np.float32(255 * low)) / np.float32(high - low)


@_register("curve", pointwise=True, strength=0.0, separate=0.0, inverted=0.0, seed=0)
def curve(
    image: Pixels, *, strength: float, seed: int, separate: float = 0.0, inverted: float = 0.0
) -> Pixels:
    """v plus sine waves: a curve that rises if `strength` is at most 1; one per channel or for all.

    `inverted` makes a negative of the image first.
    """
    channels = image.shape[-1]
    numbers = normal(channels * CURVE_WAVES, seed).reshape(channels, CURVE_WAVES)
    numbers = numbers / np.abs(numbers).sum(axis=1, keepdims=True)
    waves = np.float32(strength) * (numbers if separate else numbers[:1])
    value = np.clip(image / np.float32(255), 0, 1)
    value = 1 - value if inverted else value
    angle = np.float32(np.pi) * value
    for wave in range(1, CURVE_WAVES + 1):
        value = value + waves[:, wave - 1] / np.float32(np.pi * wave) * np.sin(wave * angle)
    return 255 * value


@_register("color", strength=0.0, seed=0)
def color(image: Pixels, *, strength: float, seed: int) -> Pixels:
    """Mix the channels, as distances from their means, and shift them, by random numbers.

    Their standard deviation is `strength`, times that of the image for the shifts.
    """
    channels = image.shape[-1]
    numbers = np.float32(strength) * normal(channels * (channels + 1), seed)
    numbers = numbers.reshape(channels + 1, channels)
    mean = image.reshape(-1, channels).mean(axis=0)
    shift = image.std() * numbers[-1] - mean @ numbers[:-1]
    return _mixed(image, np.eye(channels, dtype=np.float32) + numbers[:-1], shift)


def _mixed(image: Pixels, matrix: NDArray[np.float32], shift: NDArray[np.float32]) -> Pixels:
    """The channels of each pixel, a row, times `matrix` [C, C], plus `shift` [C]."""
    return cv2.transform(image, np.column_stack([matrix.T, shift])).reshape(image.shape)


@_register("stain", strength=0.0, offset=0.0, seed=0)
def stain(image: Pixels, *, strength: float, seed: int, offset: float = 0.0) -> Pixels:
    """Change the amount of each stain by e^(`strength` n), and add `offset` n; n is normal.

    Stains are those of `stain_axes`, amounts are optical densities (Tellez 2018).
    """
    channels = image.shape[-1]
    numbers = normal(2 * channels, seed).reshape(2, channels)
    to_stains, from_stains = stain_axes(channels)
    density = -np.log((np.clip(image, 0, 255) + 1) / np.float32(256))
    changed = to_stains @ np.diag(np.exp(np.float32(strength) * numbers[0])) @ from_stains
    return (
        256 * np.exp(-_mixed(density, changed, np.float32(offset) * numbers[1] @ from_stains)) - 1
    )


def stain_axes(channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrices from densities of channels to amounts of stains, and back.

    Three channels are red, green and blue, of any other number each is a stain of its own.
    """
    if channels != len(_STAINS):
        return np.eye(channels, dtype=np.float32), np.eye(channels, dtype=np.float32)
    stains = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    return np.linalg.inv(stains).astype(np.float32), stains.astype(np.float32)


@_register("bias", strength=0.0, seed=0)
def bias(image: Pixels, *, strength: float, seed: int) -> Pixels:
    """Multiply by e^(`strength` p), p a random polynomial of degree 2 over the image."""
    terms = bias_terms(image.shape[0], image.shape[1])
    field = np.exp(np.float32(strength) * (terms @ normal(BIAS_TERMS, seed)))
    return image * field[..., None]


def bias_terms(height: int, width: int) -> NDArray[np.float32]:
    """[height, width, BIAS_TERMS]: terms with mean 0 over an image that reaches from -1 to 1."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] + np.zeros(width, np.float32)
    x = np.linspace(-1, 1, width, dtype=np.float32) + np.zeros((height, 1), np.float32)
    third = np.float32(1 / 3)
    return np.stack([x, y, x * y, x * x - third, y * y - third], axis=-1)


def adjust(image: NDArray, adjustments: Sequence[Adjustment]) -> NDArray:
    """An image [H, W, C] after `adjustments`, in its own dtype (uint8 or float32), in 0..255."""
    if not adjustments:
        return image
    steps = [(PHOTOMETRIC.get(a.name), a.parameters) for a in adjustments]
    if image.dtype == np.uint8 and all(step.pointwise for step, _ in steps):
        table = np.arange(256, dtype=np.float32)[None, :, None].repeat(image.shape[2], axis=2)
        return cv2.LUT(image, _rounded(_chain(table, steps))).reshape(image.shape)
    result = _chain(image.astype(np.float32), steps)
    return _rounded(result) if image.dtype == np.uint8 else np.clip(result, 0, 255)


def _chain(image: Pixels, steps: Sequence[tuple[Photometric, Mapping[str, float]]]) -> Pixels:
    for step, parameters in steps:
        image = step.apply(image, **parameters)
    return image


def _rounded(image: Pixels) -> NDArray[np.uint8]:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def normal(count: int, seed: int) -> NDArray[np.float32]:
    """`count` standard normal numbers: Box and Muller's transform of a hash of their positions.

    A counter-based generator gives the same numbers on every engine and device, which the
    engines' own generators do not. The hash is the integer finalizer of MurmurHash3.
    """
    result = np.empty(count, np.float32)
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        index = np.arange(start, end, dtype=np.int32) + np.int32(seed)
        first = _uniform(_hash(index))
        second = _uniform(_hash(index ^ np.int32(0x5BD1E995)))
        result[start:end] = np.sqrt(-2 * np.log(first)) * np.cos(np.float32(2 * np.pi) * second)
    return result


def _hash(index: NDArray[np.int32]) -> NDArray[np.int32]:
    mixed = index ^ _shift(index, 16)
    mixed = mixed * np.int32(0x85EBCA6B - 2**32)
    mixed = mixed ^ _shift(mixed, 13)
    mixed = mixed * np.int32(0xC2B2AE35 - 2**32)
    return mixed ^ _shift(mixed, 16)


def _shift(value: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    # The logical shift of a signed integer; unsigned ones are not known to every engine.
    return (value >> np.int32(bits)) & np.int32((1 << (32 - bits)) - 1)


def _uniform(value: NDArray[np.int32]) -> NDArray[np.float32]:
    """Evenly in (0, 1]."""
    return ((_shift(value, 8)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-24)
