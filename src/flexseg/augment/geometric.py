"""Geometric transforms: each gives the steps of a coordinate map for images of one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.augment.fields import Affine, Displacement, Radial, Size, Step
from flexseg.registry import Registry

Steps = tuple[Step, ...]
MakeSteps = Callable[..., Steps]

# Nodes of a displacement grid per width of its Gaussian: bilinear between them errs by 1 %.
_NODES_PER_SIGMA = 4


@dataclass(frozen=True)
class Geometric:
    """A geometric transform of the registry.

    Attributes
    ----------
    steps : (rng, size, **parameters) -> the steps.
    neutral : parameters with which nothing moves.
    """

    steps: MakeSteps
    neutral: Mapping[str, object] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it does, from its docstring."""
        return " ".join((self.steps.__doc__ or "").split())


GEOMETRIC: Registry[Geometric] = Registry("geometric transform")


def _register(
    name: str, **neutral: object
) -> Callable[[Callable[..., Steps]], Callable[..., Steps]]:
    def add(function: Callable[..., Steps]) -> Callable[..., Steps]:
        GEOMETRIC.register(name)(Geometric(function, neutral))
        return function

    return add


def _about_center(size: Size, a: float, b: float, d: float, e: float) -> Steps:
    """The linear map ((a, b), (d, e)) that leaves the centre of the image where it is."""
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
    return (Affine(((a, b, x - a * x - b * y), (d, e, y - d * x - e * y))),)


@_register("hflip", on=False)
def hflip(rng: np.random.Generator, size: Size, *, on: bool = True) -> Steps:
    """Mirror left-right."""
    return _about_center(size, -1, 0, 0, 1) if on else ()


@_register("vflip", on=False)
def vflip(rng: np.random.Generator, size: Size, *, on: bool = True) -> Steps:
    """Mirror top-bottom."""
    return _about_center(size, 1, 0, 0, -1) if on else ()


@_register("rotation", angle=0.0)
def rotation(rng: np.random.Generator, size: Size, *, angle: float) -> Steps:
    """Rotate about the centre by `angle` degrees, counter-clockwise."""
    radians = np.deg2rad(angle)
    c, s = float(np.cos(radians)), float(np.sin(radians))
    return _about_center(size, c, -s, s, c)


@_register("scaling", x=1.0, y=1.0)
def scaling(rng: np.random.Generator, size: Size, *, x: float, y: float) -> Steps:
    """Make everything `x` times as wide and `y` times as high, about the centre."""
    return _about_center(size, 1 / x, 0, 0, 1 / y)


@_register("shrink", scale=1.0)
def shrink(rng: np.random.Generator, size: Size, *, scale: float) -> Steps:
    """Make everything `scale` times as large, about the centre."""
    return scaling(rng, size, x=scale, y=scale)


@_register("shear", factor=0.0)
def shear(rng: np.random.Generator, size: Size, *, factor: float) -> Steps:
    """Move columns down by `factor` times their distance from the centre."""
    return _about_center(size, 1, 0, -factor, 1)


@_register("crop", share=1.0, x=0.5, y=0.5)
def crop(rng: np.random.Generator, size: Size, *, share: float, x: float, y: float) -> Steps:
    """Enlarge a window of `share` of each side to the whole image.

    Its centre lies at the shares `x` of the width and `y` of the height, or as near to them as
    the image allows.
    """
    rows = []
    for length, at in ((size[1], x), (size[0], y)):
        span = share * (length - 1)
        rows.append(min(max(at * (length - 1) - span / 2, 0), length - 1 - span))
    return (Affine(((share, 0, rows[0]), (0, share, rows[1]))),)


@_register("deformation", alpha=0.0, sigma=8.0)
def deformation(
    rng: np.random.Generator,
    size: Size,
    *,
    alpha: float,
    sigma: float,
    strength: Literal["legacy", "full"] = "full",
    channels: int = 1,
) -> Steps:
    """Elastic deformation (Simard 2003): noise smoothed by a Gaussian of `sigma` pixels.

    Each axis is displaced by U(-1, 1) noise, smoothed, times `alpha`: about 0.163 alpha / sigma
    pixels rms. `strength` "legacy" gives the displacement that the originals reach with the same
    alpha: they smooth across the colour channels of the array too, with zeros around them, which
    leaves sqrt(mean over channels i of sum over channels j of g(i - j)^2) of it, g being the
    sampled Gaussian: a twentieth for one channel of an image, a twelfth for three (sigma 8).
    """
    spacing = max(1.0, sigma / _NODES_PER_SIGMA)
    shape = _grid_shape(size, spacing)
    spacings = np.array([size[0] / shape[0], size[1] / shape[1]])
    noise = rng.uniform(-1, 1, (*shape, 2)).astype(np.float32)
    smooth = _gaussian(noise, sigma / spacings, cv2.BORDER_CONSTANT)
    # White noise on a coarser grid keeps more of its variance when it is smoothed.
    factor = alpha / np.sqrt(np.prod(spacings))
    if strength == "legacy":
        factor *= _across_channels(sigma, channels)
    return (Displacement(smooth * np.float32(factor)),)


def noise_rms(sigma: float) -> float:
    """Standard deviation of U(-1, 1) noise after a Gaussian of `sigma` pixels."""
    return float(np.sqrt(1 / (12 * np.pi)) / sigma)


def _across_channels(sigma: float, channels: int) -> float:
    reach = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    kernel = np.exp(-(reach**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    weight = dict(zip(reach.tolist(), kernel.tolist(), strict=True))
    squares = [sum(weight.get(i - j, 0.0) ** 2 for j in range(channels)) for i in range(channels)]
    return float(np.sqrt(np.mean(squares)))


@_register("distortion", amount=0.0, sigma=40.0)
def distortion(rng: np.random.Generator, size: Size, *, amount: float, sigma: float) -> Steps:
    """Smooth distortion along the gradient of noise smoothed by a Gaussian of `sigma` pixels.

    The largest displacement along each axis is int(`amount` times the longer side) pixels, for
    the image stretched to a square.
    """
    side = max(size)
    limit = int(side * amount)
    nodes = _grid_shape((side, side), max(1.0, sigma / _NODES_PER_SIGMA))
    spacing = side / nodes[0]
    noise = rng.standard_normal(nodes).astype(np.float32)
    smooth = _gaussian(noise, np.array([sigma, sigma]) / spacing, cv2.BORDER_REFLECT)
    along_y, along_x = (np.asarray(slope) for slope in np.gradient(smooth))
    grid = np.stack([_to_largest(along_x, limit), _to_largest(along_y, limit)], axis=-1)
    stretch = np.array([size[1] / side, size[0] / side], np.float32)
    return (Displacement(grid * stretch),)


def _to_largest(values: NDArray[np.float32], limit: float) -> NDArray[np.float32]:
    # Their largest size: where all slopes of a small image are negative, the largest value is not.
    return values * np.float32(limit / max(float(np.abs(values).max()), 1e-12))


def _grid_shape(size: Size, spacing: float) -> tuple[int, int]:
    return max(2, round(size[0] / spacing)), max(2, round(size[1] / spacing))


def _gaussian(
    pixels: NDArray[np.float32], sigma: NDArray[np.float64], border: int
) -> NDArray[np.float32]:
    """A Gaussian of `sigma` (y, x) nodes, cut off at 4 sigma."""
    reach_y, reach_x = (2 * int(4 * s + 0.5) + 1 for s in sigma)
    return cv2.GaussianBlur(
        pixels, (reach_x, reach_y), sigma[1], sigmaY=sigma[0], borderType=border
    )


@_register("radial", radius=0.5, amount=0.0, centers=((0.5, 0.5),))
def radial(
    rng: np.random.Generator,
    size: Size,
    *,
    radius: float,
    amount: float,
    centers: tuple[tuple[float, float], ...],
) -> Steps:
    """Barrel (`amount` > 0) or pincushion (< 0) distortion at one centre after the other.

    `radius` is a share of the width, `centers` are shares of width and height.
    """
    height, width = size
    return tuple(Radial((width * x, height * y), width * radius, amount) for x, y in centers)
