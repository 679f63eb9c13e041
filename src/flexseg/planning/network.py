"""Size, network and batch from what the data look like and what the time allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from flexseg.config.text import Choice

# Images are not enlarged beyond, or trained on at more than, so many pixels per side.
_SMALLEST, _LARGEST = 32, 512
# A training of fewer images than this does not reach what the network could; it is better spent on
# smaller ones.
ENOUGH_IMAGES = 4000
# From so many images on, a network twice as wide is worth its double cost.
PLENTY_OF_IMAGES = 60_000
# Objects must stay at least so many pixels wide.
_LEAST_BREADTH = 5.0
_FILTERS = 16
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
    """

    width: int
    height: int
    levels: int
    filters: int
    batch: int

    @property
    def pixels(self) -> int:
        """Of an image."""
        return self.width * self.height


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


def fit_to_time(
    natural: Shape, seconds_per_image: float, seconds: float, breadth: float | None, cases: int
) -> tuple[Shape, str, str]:
    """Shrink or widen a network until the time suffices for it.

    Parameters
    ----------
    seconds_per_image : of a training step of `natural`.
    seconds : for the training.
    breadth : of small objects at the natural size in pixels.

    Returns the network, and why its size and its filters are so.
    """
    images = seconds / seconds_per_image
    if images >= PLENTY_OF_IMAGES:
        wider = replace(natural, filters=2 * natural.filters)
        return (
            wider,
            "about the images' own size (the median)",
            f"the time suffices for {images:,.0f} images, so for a network twice as wide",
        )
    filters = "narrow: many images in little time teach more than a wide network"
    if images >= ENOUGH_IMAGES:
        return natural, "about the images' own size (the median)", filters
    scale = math.sqrt(images / ENOUGH_IMAGES)
    limits = [_SMALLEST / min(natural.width, natural.height)]
    if breadth:
        limits.append(min(1.0, _LEAST_BREADTH / breadth))
    limited = max(limits) > scale
    scale = max(scale, *limits)
    shape = shape_of(natural.width * scale, natural.height * scale, cases, natural.filters)
    why = (
        f"at the images' own size ({natural.width} x {natural.height}) the time would suffice for "
        f"{images:,.0f} images only"
    )
    if limited:
        why += ", but smaller than this small objects would vanish"
    return shape, why, filters


def shape_choices(shape: Shape, why_size: str, why_filters: str) -> list[Choice]:
    """What a config says of the network's shape."""
    deepest = min(shape.width, shape.height) // 2 ** (shape.levels - 1)
    return [
        Choice("model", "image_width", shape.width, why_size),
        Choice("model", "image_height", shape.height, ""),
        Choice(
            "model", "num_layers", shape.levels,
            f"resolutions, down to {deepest} pixels: the deepest one sees the whole image",
        ),
        Choice("model", "base_filters", shape.filters, why_filters),
        Choice(
            "train", "batch_size", shape.batch,
            "images per step: small steps, and more of them, in the same time",
        ),
    ]  # fmt: skip
