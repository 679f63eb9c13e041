"""Resizing within a graph: images of any size to the network's, and probabilities back.

Rows and columns are interpolated by a matrix each, which the graph computes from the sizes: so one
mechanism shrinks by area, for which ONNX has no operator, and interpolates as OpenCV does, whose
places of pixels and borders `Resize` of ONNX does not all have. Places are computed by whole
numbers, which is exact. Only the pixels in which targets begin are rounded by OpenCV as float64 is,
some to the pixel before; where there is no float64 they are exact as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from flexseg.export.graph import Graph, Size, Tensor, summed
from flexseg.files.resizing import SCIKIT_IMAGE

Method = Literal["auto", "nearest", "bilinear", "cubic", "area", "lanczos", "scikit-image"]
METHODS: tuple[Method, ...] = (
    "auto",
    "nearest",
    "bilinear",
    "cubic",
    "area",
    "lanczos",
    "scikit-image",
)
# OpenCV's parameter of its cubic.
_CUBIC = -0.75
# OpenCV interpolates 8 bits by whole numbers: shares of pixels are so many parts.
_PARTS = 2048


@dataclass(frozen=True)
class _Taps:
    """Of each target the neighbours that it is made of.

    Attributes
    ----------
    first : [n] of the first neighbour, int64; below 0 and beyond the last is the border.
    shares : [n] of each neighbour, float32.
    """

    first: Tensor
    shares: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Axis:
    """Rows or columns, and how many of them there are to be.

    Places of targets are fractions of whole numbers, which are exact: their numerators are at most
    twice the product of two sides.
    """

    graph: Graph
    length: Tensor
    target: Tensor

    @classmethod
    def of(cls, graph: Graph, length: Size, target: Size) -> _Axis:
        sizes = (graph.tensor(size, np.int64) for size in (length, target))
        return cls(graph, *sizes)

    @property
    def targets(self) -> Tensor:
        """0, 1, ... [target]."""
        return self.graph.count(self.target)

    @property
    def pixels(self) -> Tensor:
        """0, 1, ... [length]."""
        return self.graph.count(self.length)

    def centres(self) -> tuple[Tensor, Tensor]:
        """Where the centre of each target lies: the pixel before it, and how far behind it."""
        whole = 2 * self.target
        # A pixel further, as whole numbers are divided towards zero.
        place = (2 * self.targets + 1) * self.length + self.target
        next_ = place / whole
        return next_ - 1, _share(place - next_ * whole, whole)

    def begins(self) -> Tensor:
        """The pixel in which each target begins, int64."""
        if not self.graph.doubles:
            return self.targets * self.length / self.target
        # OpenCV rounds so, and some whole numbers down to the one before.
        ratio = self.target.cast(np.float64) / self.length.cast(np.float64)
        # ONNX Runtime makes y / x of (1 / x) y, which is rounded otherwise.
        scale = self.graph.node("Reciprocal", ratio)
        return (self.targets.cast(np.float64) * scale).floor().cast(np.int64)

    def linear(self, area: Tensor) -> _Taps:
        """Two neighbours.

        Parameters
        ----------
        area : whether they are chosen as OpenCV does where it was to shrink by area, and one side
            grows.
        """
        before, share = self.centres()
        begin = self.begins()
        covered = (self.targets + 1) * self.length - (begin + 1) * self.target
        covered = covered.at_least(0)
        covered = _share(covered - covered / self.length * self.length, self.length)
        first = self.graph.where(area, begin, before)
        share = self.graph.where(area, covered, share)
        return _Taps(first, (1.0 - share, share))

    def cubic(self) -> _Taps:
        """Four neighbours."""
        before, x = self.centres()
        a, y = _CUBIC, 1.0 - x
        far = ((a * (x + 1.0) - 5 * a) * (x + 1.0) + 8 * a) * (x + 1.0) - 4 * a
        near = ((a + 2) * x - (a + 3)) * x * x + 1.0
        next_ = ((a + 2) * y - (a + 3)) * y * y + 1.0
        return _Taps(before - 1, (far, near, next_, 1.0 - far - near - next_))

    def lanczos(self) -> _Taps:
        """Eight neighbours."""
        before, x = self.centres()
        x = x.at_least(1e-9)
        parts = []
        for k in range(8):
            distance = x + (3.0 - k)
            sine = self.graph.node("Sin", distance * (np.pi / 4))
            parts.append((-1.0) ** k * sine / (distance * distance))
        together = summed(parts)
        return _Taps(before - 3, tuple(part / together for part in parts))

    def nearest(self) -> _Taps:
        """One neighbour."""
        return _Taps(self.begins(), (self.graph.tensor([1.0], np.float32),))

    def matrix(self, taps: _Taps, *, border: bool = True) -> Tensor:
        """Shares of pixels in targets [target, length] float32.

        Parameters
        ----------
        border : beyond the border is its last pixel; False: nothing.
        """
        parts = []
        for k, share in enumerate(taps.shares):
            pixel = taps.first + k
            if border:
                pixel = pixel.at_least(0).at_most(self.length - 1)
            hit = pixel.column().equals(self.pixels).cast(np.float32)
            parts.append(hit * share.column())
        return summed(parts)

    def area(self) -> Tensor:
        """Shares [target, length] float32 of what each target covers."""
        begin, pixel = self.targets * self.length, self.pixels * self.target
        end = (begin + self.length).column()
        common = end.at_most(pixel + self.target) - begin.column().at_least(pixel)
        return _share(common.at_least(0), self.length)

    def smooth(self) -> Tensor:
        """The Gaussian before shrinking of scikit-image [length, length], black around it."""
        shrunk = self.length.cast(np.float32) / self.target.cast(np.float32)
        # Without shrinking there is no Gaussian: the pixel itself has all of it.
        width = ((shrunk - 1.0) / 2.0).at_least(1e-3)
        radius = ((4 * self.length - 3 * self.target) / (2 * self.target)).at_least(0)

        def bell(x: Tensor) -> Tensor:
            inside = (x * x <= radius * radius).cast(np.float32)
            far = x.cast(np.float32) / width
            return self.graph.node("Exp", far * far / -2.0) * inside

        distance = self.pixels.column() - self.pixels
        return bell(distance) / bell(self.graph.count(2 * radius + 1) - radius).total(0)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """A fraction of whole numbers, float32."""
    return part.cast(np.float32) / whole.cast(np.float32)


def resized(
    graph: Graph,
    images: Tensor,
    height: Size,
    width: Size,
    method: Method,
    *,
    eight_bits: bool = False,
) -> Tensor:
    """Images [N, C, H, W] float32 at another size, as `files.resizing.resize` makes them.

    Parameters
    ----------
    method : "auto" shrinks by area and enlarges bilinearly, by the number of pixels.
    eight_bits : the values are whole, from 0 to 255, and stay so.
    """
    rows = _Axis.of(graph, images.size(2), height)
    columns = _Axis.of(graph, images.size(3), width)
    if method == SCIKIT_IMAGE:
        return _as_scikit_image(graph, images, rows, columns, eight_bits=eight_bits)
    if method not in ("auto", "area", "bilinear"):
        name = str(method)
        by = [axis.matrix(getattr(axis, name)()) for axis in (rows, columns)]
        found = _product(images, *by)
        return (found + 0.5).floor().clipped(0.0, 255.0) if eight_bits else found
    pixels, targets = rows.length * columns.length, rows.target * columns.target
    area = graph.tensor(method == "area", bool) if method != "auto" else pixels > targets
    both = (rows.length >= rows.target) & (columns.length >= columns.target)
    covers = area & both
    taps = [axis.linear(area) for axis in (rows, columns)]
    by = [
        graph.where(covers, axis.area(), axis.matrix(two))
        for axis, two in zip((rows, columns), taps, strict=True)
    ]
    found = _product(images, *by)
    if not eight_bits:
        return found
    twice = rows.length.equals(2 * rows.target) & columns.length.equals(2 * columns.target)
    whole = graph.where(twice, (found + 0.5).floor(), found.rounded())
    return graph.where(covers | twice, whole, _by_whole_numbers(images, rows, columns, *taps))


def _product(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return rows @ (images @ columns.transposed(1, 0))


def _by_whole_numbers(
    images: Tensor, rows: _Axis, columns: _Axis, above: _Taps, before: _Taps
) -> Tensor:
    """Two neighbours along each axis, of whole numbers, rounded where OpenCV rounds them."""

    def neighbours(values: Tensor, axis: _Axis, taps: _Taps, number: int) -> list[Tensor]:
        last = axis.length - 1
        places = [(taps.first + k).at_least(0).at_most(last) for k in range(2)]
        shares = [(share * float(_PARTS)).rounded() for share in taps.shares]
        if number == 2:
            shares = [share.column() for share in shares]
        pairs = zip(places, shares, strict=True)
        return [values.take(place, number) * share for place, share in pairs]

    left, right = neighbours(images, columns, before, 3)
    upper, lower = neighbours(((left + right) / 16.0).floor(), rows, above, 2)
    quarters = (upper / 65536.0).floor() + (lower / 65536.0).floor()
    return ((quarters + 2.0) / 4.0).floor()


def _as_scikit_image(
    graph: Graph, images: Tensor, rows: _Axis, columns: _Axis, *, eight_bits: bool
) -> Tensor:
    def whole(axis: _Axis) -> Tensor:
        before, share = axis.centres()
        return axis.matrix(_Taps(before, (1.0 - share, share)), border=False) @ axis.smooth()

    found = _product(images, whole(rows), whole(columns))
    low, high = images.lowest(1, 2, 3), images.highest(1, 2, 3)
    with_zero = (found.lowest(1, 2, 3) <= 0.0) & (found.highest(1, 2, 3) >= 0.0)
    low = graph.where(with_zero, low.at_most(0.0), low)
    high = graph.where(with_zero, high.at_least(0.0), high)
    found = found.clipped(low, high)
    # What float32 leaves below a whole number is one.
    return (found + 1e-3).floor() if eight_bits else found
