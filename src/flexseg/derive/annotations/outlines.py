"""Outlines of objects, and the pixels that lie within them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# x0, y0, x1, y1, ... in pixels; pixel (row, column) covers [column, column + 1] x [row, row + 1].
Ring = Sequence[float]
# How far an outline may reach beyond its image: annotators draw over the edge.
_OVERHANG = 0.05


class Outline(Protocol):
    """What marks the pixels of an object."""

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Its pixels [H, W] in an image of `shape`.

        Raises
        ------
        ValueError : it cannot be one of such an image.
        """


@dataclass(frozen=True)
class Polygons:
    """Parts, each of an outer ring and the rings of its holes."""

    parts: tuple[tuple[Ring, ...], ...]

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """See `Outline`."""
        marked = np.zeros(shape, bool)
        for rings in self.parts:
            part = np.zeros(shape, bool)
            for ring in rings:
                part ^= fill_polygon(_checked(ring, shape), shape)
            marked |= part
        return marked


@dataclass(frozen=True)
class Bitmap:
    """Pixels [h, w] whose upper left one is at (`left`, `top`) of the image."""

    pixels: NDArray[np.bool_]
    left: int = 0
    top: int = 0

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """See `Outline`."""
        height, width = self.pixels.shape
        if (
            min(self.left, self.top) < 0
            or self.top + height > shape[0]
            or self.left + width > shape[1]
        ):
            raise ValueError(
                f"its {width} x {height} pixels at ({self.left}, {self.top}) reach out of the "
                f"image, which has {shape[1]} x {shape[0]}"
            )
        marked = np.zeros(shape, bool)
        marked[self.top : self.top + height, self.left : self.left + width] = self.pixels
        return marked


def _checked(ring: Ring, shape: tuple[int, int]) -> Ring:
    if len(ring) % 2:
        raise ValueError(f"a polygon of {len(ring)} numbers")
    if len(ring) < 6:
        return ()  # annotators leave points and lines behind; they have no area
    points = np.asarray(ring, np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("a polygon with NaN or infinite numbers")
    size = np.array(shape[::-1])
    beyond = _OVERHANG * size + 2
    if (points < -beyond).any() or (points > size + beyond).any():
        x, y = points[np.abs(points - size / 2).max(axis=1).argmax()]
        raise ValueError(
            f"it reaches ({x:g}, {y:g}), far beyond the image of {shape[1]} x {shape[0]} pixels"
        )
    return ring


def ring_of(points: Iterable[Sequence[float]]) -> list[float]:
    """A ring of points [(x, y), ...].

    Raises
    ------
    ValueError : a point has fewer than two numbers.
    """
    ring = []
    for point in points:
        if len(point) < 2:
            raise ValueError(f"a point of {len(point)} numbers")
        ring += [float(point[0]), float(point[1])]
    return ring


def rectangle(x0: float, y0: float, x1: float, y1: float, degrees: float = 0) -> Polygons:
    """A rectangle by two opposite corners, turned clockwise about its centre."""
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)
    return Polygons(((_turned(corners, degrees, corners.mean(axis=0)),),))


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0) -> Polygons:
    """An ellipse by its centre and radii, turned clockwise."""
    angle = np.linspace(0, 2 * np.pi, 181)[:-1]
    points = np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)
    return Polygons(((_turned(points, degrees, np.array([x, y])),),))


def _turned(points: NDArray, degrees: float, centre: NDArray) -> list[float]:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turned = (points - centre) @ np.array([(c, s), (-s, c)]) + centre
    return [float(value) for value in turned.ravel()]


def fill_polygon(points: Ring, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels [H, W] whose centres lie within a polygon (even-odd rule)."""
    height, width = shape
    xy = np.asarray(points, np.float64).reshape(-1, 2)
    toggles = np.zeros((height, width + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(xy, np.roll(xy, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        low, high = sorted((y0, y1))
        rows = np.arange(max(0, np.ceil(low - 0.5)), min(height, np.ceil(high - 0.5)), dtype=int)
        crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)
        np.add.at(toggles, (rows, columns), 1)
    return (np.cumsum(toggles, axis=1)[:, :width] % 2).astype(bool)


def of_runs(runs: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels [H, W] of run lengths along the rows, of zeros and ones in turn.

    Raises
    ------
    ValueError : the runs do not add up to the size.
    """
    if sum(runs) != shape[0] * shape[1] or min(runs, default=0) < 0:
        raise ValueError(f"the run lengths add up to {sum(runs)}, expected {shape[0] * shape[1]}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)
