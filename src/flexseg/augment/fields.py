"""Coordinate maps: where each pixel of a warped image looks in the image that it comes from.

A geometric transform is a sequence of steps, each of which maps coordinates. The steps of all
transforms of a sample are chained into one `Field`, and image and labels are then sampled once
each, by the same field: they cannot get out of line, and are blurred once at most.

Coordinates are (x, y) in pixels, (0, 0) is the centre of the first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.ignored.pixels import IGNORED

Size = tuple[int, int]  # height, width
Border = Literal["constant", "edge", "reflect", "pixel"]
Interpolation = Literal["bilinear", "cubic"]

_INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_BORDER = {
    "constant": cv2.BORDER_CONSTANT,
    "edge": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT_101,
    "pixel": cv2.BORDER_CONSTANT,
}
CENTER = 1e-4  # distances from a radial centre below this, in radii, count as this
BORDER_PIXEL = (2, 2)  # row and column of the pixel that the border "pixel" repeats


class Step(Protocol):
    """Maps coordinates of a warped image to those of its source."""

    def map(self, coordinates: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
        """Coordinates [..., 2] in the source, for coordinates [H, W, 2] in the result."""


@dataclass(frozen=True)
class Affine:
    """x' = a x + b y + c, y' = d x + e y + f, as the rows ((a, b, c), (d, e, f))."""

    rows: tuple[tuple[float, float, float], tuple[float, float, float]]

    def map(self, coordinates: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
        """See `Step`."""
        return cv2.transform(coordinates, np.array(self.rows, np.float32))

    def after(self, other: Affine) -> Affine:
        """The map that does `other` to the coordinates first, then this one."""
        both = self.matrix() @ other.matrix()
        return Affine((tuple(both[0].tolist()), tuple(both[1].tolist())))

    def matrix(self) -> NDArray[np.float64]:
        """The homogeneous matrix [3, 3]."""
        return np.array([*self.rows, (0.0, 0.0, 1.0)])


@dataclass(frozen=True)
class Radial:
    """Barrel (amount > 0) or pincushion (amount < 0) distortion around a centre.

    Within `radius` R of the centre c, a pixel at distance r looks at
    c + (p - c) sin(pi r / 2R)^amount; outside it stays where it is.

    Attributes
    ----------
    center : (x, y) in pixels.
    radius : in pixels.
    """

    center: tuple[float, float]
    radius: float
    amount: float

    def map(self, coordinates: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
        """See `Step`."""
        offset = coordinates - np.array(self.center, np.float32)
        # Not cv2.magnitude: its last bit depends on where the array lies in memory.
        x, y = offset[..., 0], offset[..., 1]
        distance = np.sqrt(x * x + y * y) / np.float32(self.radius)
        # From the radius on the sine is 1, and nothing moves. At the centre itself a pincushion
        # would look infinitely far away, times zero.
        angle = np.float32(np.pi / 2) * np.clip(distance, np.float32(CENTER), np.float32(1))
        factor = np.sin(angle) ** np.float32(self.amount) - 1
        return coordinates + offset * factor[..., None]


@dataclass(frozen=True, eq=False)
class Displacement:
    """A smooth displacement, known on a coarse grid over the image and bilinear in between.

    Attributes
    ----------
    grid : [h, w, 2] float32, displacements (x, y) in pixels of the image; its nodes are the
        centres of h x w equal cells.
    """

    grid: NDArray[np.float32]

    def map(self, coordinates: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
        """See `Step`."""
        height, width = size
        rows, columns = self.grid.shape[:2]
        scale = np.array([columns / width, rows / height], np.float32)
        at = (coordinates + np.float32(0.5)) * scale - np.float32(0.5)
        return coordinates + cv2.remap(
            self.grid, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )


def identity(size: Size) -> NDArray[np.float32]:
    """The coordinates [H, W, 2] of all pixels."""
    height, width = size
    result = np.empty((height, width, 2), np.float32)
    result[..., 0] = np.arange(width, dtype=np.float32)
    result[..., 1] = np.arange(height, dtype=np.float32)[:, None]
    return result


def merged(steps: Sequence[Step]) -> list[Step]:
    """The same steps with neighbouring affine ones joined."""
    result: list[Step] = []
    for step in steps:
        if isinstance(step, Affine) and result and isinstance(result[-1], Affine):
            result[-1] = result[-1].after(step)
        else:
            result.append(step)
    return result


def coordinates(steps: Sequence[Step], size: Size) -> NDArray[np.float32]:
    """Where each pixel looks [H, W, 2] after `steps`, which are in the order of doing."""
    result = identity(size)
    # The last thing done to the image is the first that a pixel of the result looks through.
    for step in reversed(steps):
        result = step.map(result, size)
    return result


def field(steps: Sequence[Step], size: Size) -> NDArray[np.float32]:
    """The displacement map [H, W, 2] in pixels of `steps`."""
    return coordinates(steps, size) - identity(size)


def warp(
    image: NDArray,
    labels: NDArray[np.uint8],
    steps: Sequence[Step],
    *,
    border: Border = "reflect",
    interpolation: Interpolation = "bilinear",
) -> tuple[NDArray, NDArray[np.uint8]]:
    """Image and labels seen through one field.

    Parameters
    ----------
    image : [H, W, C], uint8 or float32.
    labels : class ids [H, W], sampled by nearest neighbour.
    border : what lies outside: "constant" 0 (background), "edge" the nearest pixel, "reflect"
        the mirrored image, "pixel" the image's pixel [2, 2] (as the originals) if that is
        background, else 0. Outside of "constant" and "pixel" lies background; next to an ignored
        corner, what is ignored.
    """
    chain = merged(steps)
    if not chain:
        return image, labels
    where: NDArray[np.float32] | Affine
    if len(chain) == 1 and isinstance(chain[0], Affine):
        where = chain[0]  # OpenCV needs no map for it
    else:
        where = coordinates(chain, labels.shape)
    row, column = (min(n, m - 1) for n, m in zip(BORDER_PIXEL, labels.shape, strict=True))
    takes_pixel = border == "pixel" and labels[row, column] == 0
    outside = image[row, column].astype(float) if takes_pixel else np.zeros(image.shape[2])
    # OpenCV fills the border of at most 4 channels at once, and drops an axis of length one.
    parts = [
        _sample(
            image[..., i : i + 4],
            where,
            _INTERPOLATION[interpolation],
            border,
            outside[i : i + 4].tolist(),
        ).reshape(*labels.shape, -1)
        for i in range(0, image.shape[2], 4)
    ]
    warped = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
    beyond = float(IGNORED) if labels[row, column] == IGNORED else 0.0
    return warped, _sample(labels, where, cv2.INTER_NEAREST, border, [beyond])


def _sample(
    pixels: NDArray,
    where: NDArray[np.float32] | Affine,
    interpolation: int,
    border: Border,
    outside: list[float],
) -> NDArray:
    if isinstance(where, Affine):
        return cv2.warpAffine(
            pixels,
            np.array(where.rows, np.float64),
            (pixels.shape[1], pixels.shape[0]),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=_BORDER[border],
            borderValue=outside,
        )
    return cv2.remap(
        pixels, where, None, interpolation, borderMode=_BORDER[border], borderValue=outside
    )
