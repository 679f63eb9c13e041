"""Where the values of a mask lie: in areas, or between others as shades of edges do."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# Of a value that has an area of its own, and of the values that only edges have: the share of core
# pixels, and of pixels between two values with areas.
_AREA, _BETWEEN = 0.05, 0.5
# So many values, none of which has an area, are shades of thin lines.
_MANY_SHADES = 8
# Masks are no smaller.
_SMALLEST = 12
_SQUARE = np.ones((3, 3), np.uint8)
# Pixels and those above them, pixels and those on their left.
_NEIGHBOURS = (
    (np.s_[1:], np.s_[:-1]),
    (np.s_[:, 1:], np.s_[:, :-1]),
)


def unenlarged(pixels: NDArray) -> tuple[NDArray, NDArray[np.int64] | None]:
    """A mask [H, W] or [H, W, 3] as it was before it was enlarged by nearest neighbour.

    Shades of blended edges then are as thin again as they were: enlarged, they have areas. Other
    masks, in which squares may be classes, stay as they are.

    Returns
    -------
    small : the smaller mask, or the mask itself.
    counts : [h, w] pixels of the mask that each stands for; None: one.
    """
    boundaries = [_boundaries(pixels, axis) for axis in (0, 1)]
    parts = [_parts(own, n) for own, n in zip(boundaries, pixels.shape, strict=False)]
    sizes = list(zip(map(len, parts), pixels.shape, strict=False))
    if any(count == n or count < _SMALLEST for count, n in sizes):
        return pixels, None
    rows, columns = (np.cumsum(own) - own for own in parts)
    small = pixels[rows][:, columns]
    return (small, np.outer(*parts)) if _has_blended_edges(small) else (pixels, None)


def _boundaries(pixels: NDArray, axis: int) -> NDArray[np.intp]:
    """The rows (columns) that differ from the one before."""
    own, other = _NEIGHBOURS[axis]
    changed = pixels[own] != pixels[other]
    others = tuple(i for i in range(changed.ndim) if i != axis)
    return np.flatnonzero(changed.any(axis=others)) + 1


def _parts(boundaries: NDArray[np.intp], length: int) -> NDArray[np.int64]:
    """How many rows (columns) each one of the smaller mask became, if it was enlarged."""
    runs = np.diff(np.concatenate([[0], boundaries, [length]]))
    inner = runs[1:-1]  # those at the edges may be cut off
    short = inner[inner <= inner.min(initial=length) + 1]
    if not len(short) or short.min() < 2:
        return np.ones(length, np.int64)
    factor = short.mean()
    parts = []
    for run in runs.tolist():
        count = max(1, round(run / factor))
        parts.append(np.diff(np.linspace(0, run, count + 1).round()))
    return np.concatenate(parts).astype(np.int64)


def _has_blended_edges(pixels: NDArray) -> bool:
    """Whether the values without areas mostly lie between two that have some."""
    keys, light = as_numbers(pixels)
    found, numbers, counts = numbered_values(keys)
    numbers = numbers.reshape(keys.shape)
    core = np.bincount(numbers[alike_neighbours(keys, 0)], minlength=len(found))
    areas = core >= _AREA * counts
    areas[numbers[light == light.min()]] = True
    if areas.sum() == 1 and len(found) > _MANY_SHADES:
        return True
    areas[numbers[light == light.max()]] = True
    if areas.all():
        return False
    main, gray = areas[numbers], light.astype(np.float32)
    darker = cv2.erode(np.where(main, gray, np.float32(np.inf)), _SQUARE) < gray
    brighter = cv2.dilate(np.where(main, gray, np.float32(-np.inf)), _SQUARE) > gray
    return bool((darker & brighter)[~main].sum() >= _BETWEEN * (~main).sum())


def as_numbers(pixels: NDArray) -> tuple[NDArray, NDArray]:
    """Values or colours [H, W] as single numbers, and how bright they are."""
    if pixels.ndim == 2:
        return pixels, pixels
    keys = pixels.astype(np.int32) @ np.array((65536, 256, 1), np.int32)
    return keys, pixels.sum(axis=-1, dtype=np.uint16)


def alike_neighbours(pixels: NDArray, near: int) -> NDArray[np.bool_]:
    """[H, W], where a pixel and those above, below, left and right differ by `near` at most."""
    found = np.ones(pixels.shape[:2], bool)
    for own, other in _NEIGHBOURS:
        if near:
            equal = np.abs(pixels[own].astype(np.int32) - pixels[other]) <= near
        else:
            equal = pixels[own] == pixels[other]
        equal = equal.all(axis=-1) if pixels.ndim == 3 else equal
        found[own] &= equal
        found[other] &= equal
    return found


def between_neighbours(brightness: NDArray) -> NDArray[np.bool_]:
    """[H, W], where one of the eight neighbours is darker and one brighter."""
    kind = brightness.dtype
    gray = brightness if kind in (np.uint8, np.uint16) else brightness.astype(np.float32)
    return (cv2.erode(gray, _SQUARE) < gray) & (cv2.dilate(gray, _SQUARE) > gray)


def numbered_values(pixels: NDArray) -> tuple[NDArray, NDArray[np.intp], NDArray[np.intp]]:
    """The values of [H, W], the number [H * W] of that of each pixel, and how often each occurs."""
    if pixels.dtype != np.uint8:
        found, numbers, counts = np.unique(pixels, return_inverse=True, return_counts=True)
        return found, numbers.ravel(), counts
    # Counted instead of sorted: a tenth of the time.
    histogram = np.bincount(pixels.ravel(), minlength=256)
    used = np.flatnonzero(histogram)
    table = np.zeros(256, np.intp)
    table[used] = np.arange(len(used))
    return used.astype(np.uint8), table[pixels.ravel()], histogram[used]
