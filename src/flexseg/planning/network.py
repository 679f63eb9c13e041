"""Size, network and batch from what the data look like and what the time allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from flexseg.config.text import Choice

# Images are not enlarged beyond, or trained on at more than, so many pixels per side.
_SMALLEST, _LARGEST = 32, 512
# Sides that are tried besides the images' own, in pixels: of the longer one.
_SIDES = (32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448)
# A network that was trained on n images stays about so much Dice / n below its ceiling; measured,
# see docs/explanation/recipe.md.
_UNTRAINED = 80.0
# Differences of what is expected that decide nothing: the smaller size is taken.
_ALIKE = 0.002
# From so many images on, a network twice as wide is worth its double cost.
PLENTY_OF_IMAGES = 60_000
_FILTERS = 16
NARROW = "narrow: many images in little time teach more than a wide network"
# Pixels of a step: eight images of 128 x 128.
_PIXELS_PER_STEP = 8 * 128 * 128
_BATCHES = (2, 32)


@dataclass(frozen=True)
class Shape:
    """Size and depth of a network.

    Attributes
    ----------
    width, height : of its input in pixels.
    levels : resolutions, the deepest of which has 6 to 11 pixels a side.
    filters : of the first level; a multiple of 16, which convolutions on a CPU are made for.
    batch : images per step.
    patch_scale : see `[image] patch_scale`.
    """

    width: int
    height: int
    levels: int
    filters: int
    batch: int
    patch_scale: float | None = None

    @property
    def pixels(self) -> int:
        """Of an image."""
        return self.width * self.height

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width, in pixels of an image, of what the network sees of it at once."""
        scale = self.patch_scale or 1.0
        return round(self.height / scale), round(self.width / scale)


def shape_of(width: float, height: float, cases: int, filters: int = _FILTERS) -> Shape:
    """A network for images of about this size.

    Parameters
    ----------
    cases : for training; batches are of a quarter of them at most.
    """
    shortest = min(width, height)
    levels = min(6, max(3, round(math.log2(max(shortest, _SMALLEST) / 4))))
    multiple = 2 ** (levels - 1)
    sides = [max(multiple, round(side / multiple) * multiple) for side in (width, height)]
    fitting = 2 ** round(math.log2(max(1.0, _PIXELS_PER_STEP / (sides[0] * sides[1]))))
    batch = min(max(_BATCHES[0], fitting), _BATCHES[1], max(_BATCHES[0], cases // 4))
    return Shape(sides[0], sides[1], levels, filters, batch)


def natural_shape(width: float, height: float, cases: int) -> Shape:
    """A network for images of their own size, if that is not too large.

    Parameters
    ----------
    width, height : median of the images in pixels.
    """
    largest = _LARGEST / max(width, height)
    scale = min(largest, max(1.0, _SMALLEST / min(width, height)))
    # Strips that are much longer than wide are stretched.
    return shape_of(max(width * scale, _SMALLEST), max(height * scale, _SMALLEST), cases)


@dataclass(frozen=True)
class Candidate:
    """A size of the network, and what is expected of it.

    Attributes
    ----------
    ceiling : see `Resolution.ceiling`.
    images : that the time suffices for.
    taught : images of this size that the network has seen before.
    """

    shape: Shape
    ceiling: float
    images: float
    taught: float = 0

    @property
    def expected(self) -> float:
        """Dice: the ceiling, less what so few images leave untaught."""
        return self.ceiling - min(self.ceiling, _UNTRAINED / max(self.images + self.taught, 1.0))

    def __str__(self) -> str:
        seen = "; the earlier network sees that size" if self.taught else ""
        return (
            f"{self.shape.width} x {self.shape.height}: masks keep a Dice of {self.ceiling:.3f}, "
            f"time for {self.images:,.0f} images{seen}"
        )


@dataclass(frozen=True)
class KnownSize:
    """The size of an earlier network, and how many images have taught it of these data."""

    width: int
    height: int
    images: float


def fit_to_time(
    natural: Shape,
    seconds_per_image: float,
    seconds: float,
    ceiling: Callable[[int, int], float],
    cases: int,
    known: KnownSize | None = None,
) -> tuple[Shape, str, str]:
    """Choose the size from which most is expected in the time, and the width of the network.

    The masks keep more at larger sizes; at smaller ones the time suffices for more images.

    Parameters
    ----------
    seconds_per_image : of a training step of `natural`.
    seconds : for the training.
    ceiling : (width, height) -> Dice that the masks keep, see `Resolution.ceiling`.
    known : of the network that the training goes on with.

    Returns the network, and why its size and its filters are so.
    """
    longer = max(natural.width, natural.height)
    scales = [side / longer for side in _SIDES if side < longer]
    shapes = {
        shape_of(natural.width * s, natural.height * s, cases, natural.filters): None
        for s in scales
    }
    candidates = [
        Candidate(
            shape,
            ceiling(shape.width, shape.height),
            seconds / (seconds_per_image * shape.pixels / natural.pixels),
        )
        for shape in [*shapes, natural]
        if min(shape.width, shape.height) >= _SMALLEST and shape.pixels <= natural.pixels
    ]
    if known is not None:
        own = shape_of(known.width, known.height, cases, natural.filters)
        own = replace(own, width=known.width, height=known.height)
        images = seconds / (seconds_per_image * own.pixels / natural.pixels)
        candidate = Candidate(own, ceiling(own.width, own.height), images, known.images)
        candidates.insert(0, candidate)
    best = max(candidate.expected for candidate in candidates)
    chosen = next(c for c in candidates if c.expected >= best - _ALIKE)
    why = str(chosen)
    if chosen.shape != natural:
        why += f"; at the images' own size, {candidates[-1]}"
    if chosen.images >= PLENTY_OF_IMAGES:
        wider = replace(chosen.shape, filters=2 * chosen.shape.filters)
        return wider, why, "there is time for a network twice as wide"
    return chosen.shape, why, NARROW


def shape_choices(shape: Shape, why_size: str, why_filters: str) -> list[Choice]:
    """What a config says of the network's shape."""
    deepest = min(shape.width, shape.height) // 2 ** (shape.levels - 1)
    seen = "whole image" if shape.patch_scale is None else "patch"
    patches = [] if shape.patch_scale is None else [
        Choice("image", "patch_scale", shape.patch_scale,
               "the network sees patches, predictions are made by overlapping windows"),
    ]  # fmt: skip
    return [
        *patches,
        Choice("model", "image_width", shape.width, why_size),
        Choice("model", "image_height", shape.height, ""),
        Choice(
            "model", "num_layers", shape.levels,
            f"resolutions, down to {deepest} pixels: the deepest one sees the {seen}",
        ),
        Choice("model", "base_filters", shape.filters, why_filters),
        Choice(
            "train", "batch_size", shape.batch,
            "images per step: small steps, and more of them, in the same time",
        ),
    ]  # fmt: skip
