"""How small a network may see the images: what the masks keep when they are shrunk.

A prediction is made at the size of the network and enlarged to that of the image, so no network
can be better than the masks themselves, shrunk and enlarged in the same way. That ceiling is known
before anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.files.images import read_image
from flexseg.files.preprocess import resize

_CASES = 60
# Longer sides than this cost time and change the ceiling of no network that is planned.
_LONGEST = 1024
_PART = 512
# Images and masks that were enlarged as a whole: by at most this, which so many edges must show,
# and a share of the image's deviation that the smaller image may lack.
_LARGEST_GRID = 8
_FEWEST_EDGES = 64
_LACKING = 0.06


@dataclass(frozen=True)
class Resolution:
    """What the masks of training cases say of the size that a network needs.

    Attributes
    ----------
    masks : of cases that show something, class ids [H, W], uint8, as they were before somebody
        enlarged the set.
    classes : with the background.
    enlarged : the images hold nothing finer than squares of so many pixels a side, as those of a
        set that somebody has enlarged.
    shrunk : of each mask the Dice [classes - 1] that is left of its own size, where it was larger
        than what is kept of it here.
    parts : parts of the masks at their own size that show something, of at most 512 pixels a side.
    """

    masks: tuple[NDArray[np.uint8], ...]
    classes: int
    enlarged: int = 1
    shrunk: tuple[NDArray[np.float64], ...] = ()
    parts: tuple[NDArray[np.uint8], ...] = ()

    @classmethod
    def of(cls, cases: Sequence[Case], labels: LabelMap) -> Resolution:
        """Read at most 60 cases, evenly spread over those given.

        Raises
        ------
        DataError : a file cannot be read.
        """
        at = np.linspace(0, len(cases) - 1, min(len(cases), _CASES)).round().astype(int)
        chosen = [cases[i] for i in at.tolist()]

        def read(case: Case) -> NDArray[np.uint8]:
            return labels.encode(case_mask(case), str(case.mask)).labels

        with ThreadPoolExecutor() as pool:
            found = list(pool.map(read, chosen))
        enlarged = _grid(found)
        images = (read_image(case.image) for case in chosen)
        if enlarged > 1 and np.median([_lacking(i, enlarged) for i in images]) > _LACKING:
            enlarged = 1
        classes = len(labels.foreground) + 1
        own = (mask[::enlarged, ::enlarged] for mask in found)
        shown = [m for m in own if ((m > 0) & (m != IGNORED)).any()]
        smaller = [_at_most(m) for m in shown]
        left = [_left(m, small, classes) for m, small in zip(shown, smaller, strict=True)]
        return cls(tuple(smaller), classes, enlarged, tuple(left), tuple(map(_part, shown)))

    def ceiling(self, width: int, height: int) -> float:
        """The mean Dice that a perfect network of this size would reach; 1 without masks.

        Of each class the mean over the cases that show it, and of these means the mean.
        """
        if not self.masks:
            return 1.0
        with ThreadPoolExecutor() as pool:
            rows = list(pool.map(lambda m: _kept(m, (height, width), self.classes), self.masks))
        return _mean(np.array(rows) * np.array(self.shrunk or 1.0))

    def ceiling_of_patches(self, scale: float) -> float:
        """The same, of a network that sees patches of the images times this scale."""
        if scale >= 1 or not self.parts:
            return 1.0

        def kept(part: NDArray[np.uint8]) -> NDArray[np.float64]:
            height, width = (max(1, round(side * scale)) for side in part.shape)
            return _kept(part, (height, width), self.classes)

        return _mean(np.array([kept(part) for part in self.parts]))


def _kept(mask: NDArray[np.uint8], size: tuple[int, int], classes: int) -> NDArray[np.float64]:
    """Dice [classes - 1] of a mask that was shrunk as for training and enlarged as predictions.

    NaN where the mask does not show a class.
    """
    seen = cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    shares = np.stack([seen == number for number in range(classes)], axis=-1).astype(np.float32)
    fewer = mask.size < seen.size
    found = resize(shares, mask.shape, "area" if fewer else "bilinear").argmax(axis=-1)
    return _dice(mask, found, classes)


def _left(mask: NDArray[np.uint8], small: NDArray[np.uint8], classes: int) -> NDArray[np.float64]:
    """Dice [classes - 1] of a mask and a smaller copy; 1 where it is no smaller."""
    if small.shape == mask.shape:
        return np.ones(classes - 1)
    again = cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.nan_to_num(_dice(mask, again, classes), nan=1.0)


def _part(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What lies around a pixel in a class, of at most 512 pixels a side."""
    places = np.flatnonzero((mask > 0) & (mask != IGNORED))
    middle = np.unravel_index(places[len(places) // 2], mask.shape)
    rows, columns = (
        slice(start, start + _PART)
        for start in (
            max(0, min(int(pixel) - _PART // 2, side - _PART))
            for pixel, side in zip(middle, mask.shape, strict=True)
        )
    )
    return mask[rows, columns].copy()


def _mean(per_case: NDArray[np.float64]) -> float:
    """Of each class [cases, classes - 1] the mean over its cases, and of these means the mean."""
    counts = np.isfinite(per_case).sum(axis=0)
    return float((np.nansum(per_case, axis=0)[counts > 0] / counts[counts > 0]).mean())


def _dice(mask: NDArray[np.uint8], found: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """Of each class [classes - 1]; NaN where the mask does not show it."""
    counted = mask != IGNORED
    dice = np.full(classes - 1, np.nan)
    for number in range(1, classes):
        truth, predicted = (mask == number) & counted, (found == number) & counted
        if truth.any():
            dice[number - 1] = 2 * (truth & predicted).sum() / (truth.sum() + predicted.sum())
    return dice


def _at_most(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = _LONGEST / max(mask.shape)
    if scale >= 1:
        return mask
    size = [max(1, round(side * scale)) for side in mask.shape[::-1]]
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _grid(masks: Sequence[NDArray[np.uint8]]) -> int:
    """The largest squares, of at most 8 pixels a side, that no mask divides; 1 of few edges."""
    common, edges = 0, 0
    for mask in masks:
        for axis in (0, 1):
            other = 1 - axis
            changes = np.flatnonzero((np.diff(mask, axis=axis) != 0).any(axis=other)) + 1
            edges += len(changes)
            common = int(np.gcd.reduce([common, mask.shape[axis], *changes.tolist()]))
    if edges < _FEWEST_EDGES:
        return 1
    return max(n for n in range(1, _LARGEST_GRID + 1) if common % n == 0)


def _lacking(image: NDArray, times: int) -> float:
    """What is lost when an image is shrunk so many times, as a share of its deviation."""
    pixels = image.astype(np.float32)
    small = resize(pixels, (image.shape[0] // times, image.shape[1] // times), "area")
    lost = pixels - resize(small, image.shape[:2], "cubic")
    return float(np.sqrt((lost**2).mean()) / max(float(pixels.std()), 1e-6))
