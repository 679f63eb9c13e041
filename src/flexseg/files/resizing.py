"""Resizing of images, also of those that are too large to be in memory whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flexseg.errors import DataError

SCIKIT_IMAGE = "scikit-image"
Integer = TypeVar("Integer", np.uint8, np.uint16)
# What OpenCV resizes.
_RESIZABLE = (np.uint8, np.uint16, np.int16, np.float32, np.float64)
INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
# By how much the ratio of height to width of a mask may differ from that of its image.
_SAME_ASPECT = 0.02
# Values of an image that are in memory at once, where it is resized by rows.
_VALUES = 2_000_000
# Shares of rows below this are left out, as OpenCV does.
_NO_SHARE = 1e-3


def resize(pixels: NDArray, size: tuple[int, ...], interpolation: str) -> NDArray:
    """Pixels [h, w, C] of any number of channels at `size` (height, width).

    `interpolation` is nearest, bilinear, cubic, area, lanczos or scikit-image. The type stays.
    """
    if interpolation == SCIKIT_IMAGE:
        return _resize_as_scikit_image(pixels, size)
    if pixels.dtype not in _RESIZABLE:
        found = resize(pixels.astype(np.float64), size, interpolation)
        return (np.rint(found) if pixels.dtype.kind in "biu" else found).astype(pixels.dtype)
    # OpenCV shrinks by area at most 4 channels at once, and drops an axis of length one.
    parts = [
        cv2.resize(
            pixels[..., i : i + 4], (size[1], size[0]), interpolation=INTERPOLATION[interpolation]
        ).reshape(size[0], size[1], -1)
        for i in range(0, pixels.shape[-1], 4)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def check_same_aspect(mask: tuple[int, ...], image: tuple[int, ...], where: Path) -> None:
    """Accept a mask of another resolution, but not of another shape than its image.

    Parameters
    ----------
    mask, image : height and width.

    Raises
    ------
    DataError : the ratios of height to width differ by more than 2 %.
    """
    ratio = (mask[0] / mask[1]) / (image[0] / image[1])
    if not 1 - _SAME_ASPECT < ratio < 1 + _SAME_ASPECT:
        raise DataError(
            f"The mask is {mask[1]} x {mask[0]} pixels, but its image is {image[1]} x {image[0]}.",
            "Export the mask at its image's size; one of the two may be rotated or cropped.",
            str(where),
        )


def fitted_mask(mask: NDArray[Integer], size: tuple[int, int], where: Path) -> NDArray[Integer]:
    """A mask [H, W] or [H, W, 3] uint8 or uint16 at its image's size, by nearest neighbour.

    Parameters
    ----------
    size : height and width.

    Raises
    ------
    DataError : see `check_same_aspect`.
    """
    if mask.shape[:2] == size:
        return mask
    check_same_aspect(mask.shape[:2], size, where)
    resized = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return resized.astype(mask.dtype, copy=False)


def _resize_as_scikit_image(pixels: NDArray, size: tuple[int, ...]) -> NDArray:
    """Pixels [h, w, C] at `size`, as `BaseImageMaskDataset` of the originals resizes them.

    Bit for bit `skimage.transform.resize(pixels, size, mode="constant", preserve_range=True)` of
    scikit-image 0.19 and later: a Gaussian before shrinking, then bilinear, with black around the
    image. Integers are cut off, as by the originals' array of uint8.
    """
    values = pixels if pixels.dtype.kind == "f" else pixels.astype(np.float64)
    shrinking = np.divide(values.shape, (*size, values.shape[2]))
    smooth = values
    if (shrinking > 1).any():
        sigma = np.maximum(0, (shrinking - 1) / 2)
        smooth = ndimage.gaussian_filter(values, sigma, mode="grid-constant")
    zoom = [1 / factor for factor in shrinking]
    resized = ndimage.zoom(smooth, zoom, order=1, mode="grid-constant", grid_mode=True)
    low, high = values.min(), values.max()
    if resized.min() <= 0 <= resized.max():
        low, high = min(low, 0), max(high, 0)
    return np.clip(resized, low, high).astype(pixels.dtype)


@dataclass(frozen=True)
class ByRows:
    """An image whose rows are asked for from top to bottom.

    Attributes
    ----------
    rows : gives those of a slice: [h, width, channels] uint8 or float32.
    """

    rows: Callable[[slice], NDArray]
    height: int
    width: int
    channels: int

    def blocks(self, step: int) -> Iterator[tuple[int, NDArray]]:
        """First row and rows of successive blocks of a height."""
        for first in range(0, self.height, step):
            yield first, self.rows(slice(first, min(first + step, self.height)))


def shrunk(image: ByRows, size: tuple[int, int]) -> NDArray:
    """`resize(..., size, "area")` of an image in both directions no smaller than `size`.

    Equal to OpenCV's but for the rounding where one of the two factors is a whole number.
    """
    height, width = size
    step = max(1, _VALUES // (image.width * image.channels))
    if image.height % height == 0 and image.width % width == 0:
        factor = image.height // height
        step = max(1, step // factor) * factor
        return np.concatenate(
            [resize(rows, (len(rows) // factor, width), "area") for _, rows in image.blocks(step)]
        )
    result = np.zeros((height, width, image.channels), np.float32)
    whole_numbers = False
    shares = _row_shares(image.height, height)
    for first, rows in image.blocks(step):
        narrow = resize(rows.astype(np.float32), (len(rows), width), "area")
        whole_numbers = rows.dtype == np.uint8
        for row, values in enumerate(narrow, start=first):
            for target, share in shares[row]:
                result[target] += share * values
    return np.rint(result).astype(np.uint8) if whole_numbers else result


def _row_shares(rows: int, targets: int) -> list[list[tuple[int, np.float32]]]:
    """Of each row, which rows of the smaller image it is part of, and how large a part."""
    scale = 1 / (targets / rows)
    shares: list[list[tuple[int, np.float32]]] = [[] for _ in range(rows)]
    for target in range(targets):
        begin = target * scale
        end = min(begin + scale, rows)
        for row in range(int(begin), min(int(np.ceil(end)), rows)):
            share = min(row + 1, end) - max(row, begin)
            if share > _NO_SHARE:
                shares[row].append((target, np.float32(share / (end - begin))))
    return shares


def enlarged(pixels: NDArray[np.float32], size: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
    """The rows of `resize(pixels, size, "bilinear")` in parts of a few million values.

    Equal to OpenCV's but for the last bit.
    """
    height, width = size
    wide = resize(pixels, (len(pixels), width), "bilinear")
    step = max(1, _VALUES // (width * pixels.shape[2]))
    for first in range(0, height, step):
        place = (np.arange(first, min(first + step, height)) + 0.5) * (len(pixels) / height) - 0.5
        place = np.clip(place, 0, len(pixels) - 1)
        above = place.astype(np.intp)
        upper, lower = wide[above], wide[np.minimum(above + 1, len(pixels) - 1)]
        share = (place - above).astype(np.float32)[:, None, None]
        # In float64, as OpenCV's fused operation rounds only once.
        yield ((lower - upper) * share.astype(np.float64) + upper).astype(np.float32)
