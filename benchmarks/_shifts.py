"""Test images as another camera, stain or scanner would have made them; see `shifted_sets.py`.

No shift is a transform of the augmentation: what was trained on is not what is measured. Each is
the same for the same name of a case.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter, zoom

from flexseg.files.volumes.paths import volume_suffix
from flexseg.files.volumes.read import read_volume
from flexseg.files.volumes.write import write_volume

Values = NDArray[np.floating]
Shift = Callable[[Values, np.random.Generator], Values]

# How much of each channel's optical density the others take over; rows sum to about 1.
_STAIN = np.array([[0.70, 0.45, -0.15], [-0.10, 0.75, 0.35], [0.30, -0.05, 0.85]], np.float32)
_WHITE = np.array([1.15, 0.95, 0.72], np.float32)
_TONES = np.array([0.65, 1.0, 1.5], np.float32)


def stain(image: Values, rng: np.random.Generator) -> Values:
    """Dyes of other colours, and a thicker section: optical densities mixed."""
    density = -np.log((image + 1) / 256)
    return 256 * np.exp(-1.2 * density @ _STAIN) - 1


def other_stain(image: Values, rng: np.random.Generator) -> Values:
    """Channels in another order: violet becomes green."""
    return image[..., [1, 2, 0]]


def white_balance(image: Values, rng: np.random.Generator) -> Values:
    """A warmer lamp: a gain per channel."""
    return image * _WHITE


def tone(image: Values, rng: np.random.Generator) -> Values:
    """The camera's curves: a gamma per channel."""
    return 255 * (np.clip(image, 0, 255) / 255) ** _TONES


def vignette(image: Values, rng: np.random.Generator) -> Values:
    """Dark corners, and less light."""
    height, width = image.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return image * (0.85 / (1 + 0.45 * (x * x + y * y)) ** 2)[..., None].astype(np.float32)


def sensor(image: Values, rng: np.random.Generator) -> Values:
    """Few photons: noise that grows with the light, and that of the amplifier."""
    photons = rng.poisson(np.clip(image, 0, 255) * 0.4) / 0.4
    return (photons + rng.normal(0, 6, image.shape)).astype(np.float32)


def compressed(image: Values, rng: np.random.Generator) -> Values:
    """Half the resolution, slightly out of focus, stored as JPEG of quality 30."""
    size = image.shape[1::-1]
    half = tuple(max(1, side // 2) for side in size)
    small = cv2.GaussianBlur(cv2.resize(image, half, interpolation=cv2.INTER_AREA), (0, 0), 0.6)
    pixels = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 30])
    return cv2.resize(cv2.imdecode(code, cv2.IMREAD_COLOR), size).astype(np.float32)


def camera(image: Values, rng: np.random.Generator) -> Values:
    """Another camera and stain: most of these at once, each weaker."""
    half = 0.5 * (np.eye(3, dtype=np.float32) + _STAIN)
    density = -np.log((image + 1) / 256)
    mixed = (256 * np.exp(-density @ half) - 1) * np.sqrt(_WHITE)
    noisy = mixed + rng.normal(0, 4, image.shape)
    return cv2.GaussianBlur(noisy.astype(np.float32), (0, 0), 0.7)


def _spline(volume: Values, values: tuple[float, ...]) -> Values:
    """A curve through `values` at even steps between the 1st and the 99th percentile."""
    low, high = np.percentile(volume, (1, 99))
    span = max(high - low, 1e-6)
    curve = PchipInterpolator(np.linspace(0, 1, len(values)), values)
    return (low + span * curve(np.clip((volume - low) / span, 0, 1))).astype(np.float32)


def bright_contrast(volume: Values, rng: np.random.Generator) -> Values:
    """Other times of the sequence: dark tissue becomes brighter, bright tissue alike."""
    return _spline(volume, (0.0, 0.45, 0.7, 0.88, 1.0))


def dark_contrast(volume: Values, rng: np.random.Generator) -> Values:
    """Other times of the sequence: dark tissue becomes alike, bright tissue differs more."""
    return _spline(volume, (0.0, 0.08, 0.2, 0.45, 1.0))


def inverse_contrast(volume: Values, rng: np.random.Generator) -> Values:
    """As of T2: bright and dark tissue change places, with other distances."""
    return _spline(volume, (1.0, 0.9, 0.65, 0.3, 0.0))


def coil(volume: Values, rng: np.random.Generator) -> Values:
    """A coil at one corner, whose signal falls off exponentially."""
    axes = np.meshgrid(*(np.linspace(0, 1, n) for n in volume.shape), indexing="ij")
    distance = np.sqrt(sum(axis**2 for axis in axes))
    return (volume * (0.4 + 1.6 * np.exp(-distance / 0.5))).astype(np.float32)


def rician(volume: Values, rng: np.random.Generator) -> Values:
    """Noise of both channels of the receiver, a tenth of the range."""
    deviation = 0.1 * float(np.subtract(*np.percentile(volume, (99, 1))))
    real, imaginary = rng.normal(0, deviation, (2, *volume.shape))
    return np.hypot(volume + real, imaginary).astype(np.float32)


def thick_slices(volume: Values, rng: np.random.Generator) -> Values:
    """Half the resolution along each axis."""
    smooth = gaussian_filter(volume, 1.0)[tuple(slice(None, None, 2) for _ in volume.shape)]
    factors = [n / m for n, m in zip(volume.shape, smooth.shape, strict=True)]
    return zoom(smooth, factors, order=1).astype(np.float32)


def scanner(volume: Values, rng: np.random.Generator) -> Values:
    """Contrast, coil and noise at once."""
    return rician(coil(_spline(volume, (0.0, 0.35, 0.62, 0.84, 1.0)), rng), rng)


PHOTOGRAPHS: tuple[Shift, ...] = (
    stain, other_stain, white_balance, tone, vignette, sensor, compressed, camera,
)  # fmt: skip
GREY_IMAGES: tuple[Shift, ...] = (
    bright_contrast, dark_contrast, inverse_contrast, vignette, sensor, compressed,
)  # fmt: skip
VOLUMES: tuple[Shift, ...] = (
    bright_contrast, dark_contrast, inverse_contrast, coil, rician, thick_slices, scanner,
)  # fmt: skip


def shifts_of(file: Path) -> tuple[Shift, ...]:
    """Those for volumes, for grey images or for images in colour, by what a file holds."""
    if volume_suffix(file):
        return VOLUMES
    return GREY_IMAGES if _is_grey(_pixels(file)) else PHOTOGRAPHS


def _pixels(file: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(file).convert("RGB"))


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def write_shifted(source: Path, target: Path, shift: Shift) -> None:
    """A shifted copy of an image or volume."""
    rng = np.random.default_rng(zlib.crc32(f"{shift.__name__} {source.name}".encode()))
    if volume_suffix(source):
        volume = read_volume(source)
        changed = shift(volume.array.astype(np.float32), rng)
        write_volume(target, replace(volume, array=changed, step=0.0))
        return
    pixels = _pixels(source)
    changed = np.clip(np.rint(shift(pixels.astype(np.float32), rng)), 0, 255)
    if _is_grey(pixels):  # a camera without colours has one noise
        changed = np.repeat(changed[..., :1], 3, axis=-1)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(changed.astype(np.uint8)).save(target.with_suffix(".png"))
