"""Pixels of any type as colours for the eye."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flexseg.files.images import MaskPixels

Rgb = tuple[int, int, int]

# Okabe & Ito 2008, "Color Universal Design": told apart with all common colour vision.
CLASS_COLORS: tuple[Rgb, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
)


# Difference of channels from which on a colour is no grey.
_COLORFUL = 40


def displayable(pixels: NDArray) -> NDArray[np.uint8]:
    """Pixels [H, W, C] of any type as RGB uint8 [H, W, 3].

    Everything but 8-bit images is stretched from its 0.5th to its 99.5th percentile.
    """
    shown = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1]
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, (0.5, 99.5))
        scaled = (shown.astype(np.float32) - low) * (255.0 / max(float(high - low), 1e-6))
        shown = np.clip(scaled, 0, 255).astype(np.uint8)
    return np.repeat(shown, 3, axis=-1) if shown.shape[-1] == 1 else np.ascontiguousarray(shown)


def distinct_color(i: int, count: int) -> tuple[int, int, int]:
    """Colour `i` of `count` that are easy to tell apart (evenly spaced hues from green on)."""
    rgb = colorsys.hsv_to_rgb(i / max(count, 1) + 1 / 3, 0.85, 0.95)
    return int(rgb[0] * 255), int(rgb[1] * 255), int(rgb[2] * 255)


def class_color(i: int, count: int) -> Rgb:
    """Colour `i` of `count` for classes that have none: of Okabe and Ito, if these suffice."""
    return CLASS_COLORS[i] if count <= len(CLASS_COLORS) else distinct_color(i, count)


def shown_color(own: Sequence[int], class_id: int) -> Rgb:
    """The colour of a foreground class in pictures, charts and viewers.

    It is the class's own, but black, white and grey, which images have too, are replaced.

    Parameters
    ----------
    own : of its masks, RGB; empty where it is not known.
    """
    if len(own) == 3 and max(own) - min(own) >= _COLORFUL:
        return own[0], own[1], own[2]
    return CLASS_COLORS[(class_id - 1) % len(CLASS_COLORS)]


def class_colors(mask: MaskPixels) -> NDArray[np.uint8]:
    """A mask of unknown meaning as RGB: class ids get distinct colours, colours stay."""
    pixels = mask.pixels
    if mask.palette is not None:
        return mask.palette[np.minimum(pixels, len(mask.palette) - 1)]
    if mask.one_hot:
        pixels = pixels.argmax(axis=-1)
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels)
    values = np.unique(pixels)
    if len(values) > 16 or set(values.tolist()) <= {0, 255}:
        return displayable(pixels[..., None])
    result = np.zeros((*pixels.shape, 3), np.uint8)
    shown = [v for v in values if v != 0]
    for i, value in enumerate(shown):
        result[pixels == value] = distinct_color(i, len(shown))
    return result
