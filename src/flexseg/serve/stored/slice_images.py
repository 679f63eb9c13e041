"""Images and slices of volumes as PNGs for browsers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.files.images import encode_png
from flexseg.serve.uploads.case_facts import CaseFacts

THUMBNAIL = 192
# Of pixels that nobody has looked at.
_IGNORED_COLOR = (128, 128, 128)

Color = Sequence[int]


def plane(array: NDArray, kind: str, axis: int = 0, index: int | None = None) -> NDArray:
    """An image, or a slice of a volume, [rows, columns] or [rows, columns, C].

    Parameters
    ----------
    array : pixels [H, W(, C)] or voxels [z, y, x(, C)].
    axis : across which volumes are cut: 0 z, 1 y, 2 x.
    index : of the slice; None: the middle one.

    Raises
    ------
    IndexError : there is no such slice.
    """
    if kind == "image":
        return np.asarray(array)
    count = array.shape[axis]
    index = count // 2 if index is None else index
    if not 0 <= index < count:
        raise IndexError(f"slice {index} of {count}")
    return np.take(array, index, axis)


def as_shown(pixels: NDArray, window: tuple[float, float]) -> NDArray[np.uint8]:
    """Pixels [H, W(, C)] as grey [H, W] or RGB [H, W, 3].

    Parameters
    ----------
    window : the values that become 0 and 255.
    """
    if pixels.ndim == 3:
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    low, high = window
    if pixels.dtype == np.uint8 and (low, high) == (0, 255):
        return np.ascontiguousarray(pixels)
    scaled = (pixels.astype(np.float32) - low) * (255 / max(high - low, 1e-9))
    return np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8)


def image_png(pixels: NDArray, window: tuple[float, float]) -> bytes:
    """Pixels [H, W(, C)] as a PNG of 8 bits, grey or RGB."""
    return encode_png(as_shown(pixels, window))


def mask_png(labels: NDArray[np.uint8], colors: Mapping[int, Color]) -> bytes:
    """Class ids [H, W] as an indexed PNG.

    Parameters
    ----------
    colors : class id -> RGB; others are black, IGNORED grey.
    """
    table = np.zeros((256, 3), np.uint8)
    table[IGNORED] = _IGNORED_COLOR
    for class_id, color in colors.items():
        table[class_id] = color
    return encode_png(np.ascontiguousarray(labels), table.reshape(-1).tolist())


def thumbnail_png(
    array: NDArray,
    labels: NDArray[np.uint8] | None,
    facts: CaseFacts,
    colors: Mapping[int, Color],
) -> bytes:
    """A case in small, RGB, with the outlines of its classes.

    Of a volume it is the slice with most foreground, without labels the middle one.
    """
    index = None
    if labels is not None and facts.kind == "volume":
        counts = [np.count_nonzero((part > 0) & (part < IGNORED)) for part in labels]
        index = int(np.argmax(counts)) if any(counts) else None
    pixels = plane(array, facts.kind, 0, index)
    height, width = pixels.shape[:2]
    scale = min(1.0, THUMBNAIL / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = cv2.resize(as_shown(pixels, facts.window), size, interpolation=cv2.INTER_AREA)
    rgb = cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB) if shown.ndim == 2 else shown
    if labels is not None:
        drawn = cv2.resize(
            np.ascontiguousarray(plane(labels, facts.kind, 0, index)),
            size,
            interpolation=cv2.INTER_NEAREST,
        )
        for class_id, color in colors.items():
            region = (drawn == class_id).astype(np.uint8)
            if class_id and region.any():
                inner = cv2.erode(region, np.ones((3, 3), np.uint8), borderValue=0)
                rgb[region > inner] = color
    return encode_png(rgb)
