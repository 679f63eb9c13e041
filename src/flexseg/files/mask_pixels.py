"""What the pixels of a mask are: transparency that says what counts, channels that are classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.picture import Picture

_TOLERANCE = 0.01


def seen(picture: Picture) -> tuple[Picture, str]:
    """A picture of which transparent pixels are black, and what was done, in words.

    Where all that can be seen is black, transparency alone tells object and background: what is
    opaque becomes 255.
    """
    opaque = picture.opaque
    if opaque is None or opaque.all():
        return picture, ""
    if picture.palette is not None:
        hidden = picture.pixels[~opaque]
        if not hidden.any() or not picture.palette[:1].any():
            return picture, ""  # what is hidden is background already, or a class
        picture = Picture(picture.resolved(), None, opaque, colors=True)
    pixels = picture.pixels
    flat = pixels.reshape(-1, *pixels.shape[2:])
    if not opaque.any() and (flat != flat[:1]).any():
        return picture, ""  # a writer that leaves transparency at 0
    if opaque.any() and not pixels[opaque].any():
        return Picture(opaque.astype(np.uint8) * 255), "transparency"
    where = opaque if pixels.ndim == 2 else opaque[..., None]
    shown = np.where(where, pixels, np.zeros((), pixels.dtype))
    return Picture(shown, None, None, picture.colors, picture.lossy), "with transparency"


def of_channels(pixels: NDArray, where: str) -> tuple[NDArray, str]:
    """What an array of three axes, whose channels nobody names, holds as a mask.

    Returns
    -------
    pixels : [H, W] grey values, [H, W, 3] uint8 RGB, or class scores [H, W, C], background first.
    kind : "grey", "RGB" or "one-hot".

    Raises
    ------
    DataError : the values do not tell.
    """
    for axis in (0, 2):
        if pixels.shape[axis] == 1:
            return np.squeeze(pixels, axis), "grey"
    first_axis = np.moveaxis(pixels, 0, -1)
    orders = [pixels, first_axis]
    if pixels.shape[0] < pixels.shape[2]:
        orders.reverse()
    for scores in map(_scores, orders):
        if scores is not None:
            return scores, "one-hot"
    if pixels.shape[2] == 4 and (pixels[..., 3] == 255).all():
        pixels = pixels[..., :3]
    if pixels.shape[2] == 3:
        if (pixels == pixels[..., :1]).all():
            return pixels[..., 0], "grey"
        if pixels.dtype.kind in "ui" and pixels.max() > 1:
            return as_rgb(pixels), "RGB"
    for classes in map(_classes, orders):
        if classes is not None:
            return classes, "one-hot"
    raise DataError(
        f"The mask has the shape {pixels.shape}, and its values do not tell what the channels "
        "are: they are neither one-hot nor scores that sum to 1.",
        "Save class ids [height, width], or one channel per class with the background first; "
        "where classes overlap, save one mask per class.",
        where,
    )


def as_rgb(pixels: NDArray) -> NDArray[np.uint8]:
    """Colours of any type in 8 bits."""
    if pixels.dtype == np.uint8:
        return pixels
    scale = 257 if pixels.dtype == np.uint16 else 1
    return np.clip(pixels / scale, 0, 255).astype(np.uint8)


def _unit(pixels: NDArray) -> float:
    """What a class that is certain has: the highest value of 0 and one other, else 1 or 255."""
    top = float(pixels.max())
    if ((pixels == 0) | (pixels == top)).all():
        return top
    return 1.0 if pixels.dtype.kind == "f" else 255.0


def _scores(pixels: NDArray) -> NDArray | None:
    """Scores [H, W, C] of up to 1, if those of every pixel sum to 1."""
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        return None
    unit = _unit(pixels)
    if unit <= 0 or pixels.min() < 0:
        return None
    rounding = pixels.shape[2] if pixels.dtype.kind in "ui" and unit > 1 else 0
    total = pixels.sum(axis=-1, dtype=np.float64)
    if np.abs(total - unit).max() > max(_TOLERANCE * unit, min(rounding, unit / 8)):
        return None
    return pixels if unit == 1 else pixels.astype(np.float32) / np.float32(unit)


def _classes(pixels: NDArray) -> NDArray | None:
    """Scores of channels of which at most one is set, with one more for the background."""
    top = pixels.max()
    marked = pixels != 0
    if (marked & (pixels != top)).any() or marked.sum(axis=-1).max() > 1:
        return None
    background = ~marked.any(axis=-1, keepdims=True)
    return np.concatenate([background, marked], axis=-1).astype(np.float32)
