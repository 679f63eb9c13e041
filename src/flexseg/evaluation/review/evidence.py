"""What a network's prediction says of one annotation.

Disagreement alone proves nothing: a case may be hard. So it is asked whether the network is sure
where it disagrees, and whether a simple mistake explains the disagreement: a shift, exchanged
classes, objects that are missing or invented. What is sure is judged by the whole set, with
thresholds of its own for each class (confident learning: Northcutt, Jiang, Chuang, JAIR 70, 2021),
and by objects instead of pixels, whose errors come together (as ObjectLab: Tkachenko,
Thyagarajan, Mueller, arXiv 2309.00832, 2023).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.evaluation.metrics.calibration import with_background

# Longest side at which objects are looked at, and side of the squares that are shifted and
# compared with other cases.
_LONGEST, _SIDE, _OF_OTHERS = 512, 64, 32
# A class of fewer pixels has no Dice.
_FEWEST_PIXELS = 10
# Where less of an object is marked on the other side, it stands alone.
_ALONE = 0.3


@dataclass(frozen=True)
class DoubtfulObject:
    """Connected pixels that are annotated as one class and predicted as another.

    Attributes
    ----------
    annotated, predicted : class ids, of which one may be the background.
    radius : of the largest circle inside.
    confidence : mean probability of the predicted class in its inner half.
    alone : not the seam of an object that is in both.
    """

    annotated: int
    predicted: int
    radius: float
    confidence: float
    alone: bool


@dataclass(frozen=True)
class Exchange:
    """Two classes that would fit better if they were exchanged, and how well."""

    first: int
    second: int
    agreement: float


@dataclass(frozen=True, eq=False)
class CaseEvidence:
    """How annotation and prediction of one case differ.

    Attributes
    ----------
    case : whose they are.
    dice : mean Dice of the classes that either shows.
    sureness : the Dice that the prediction would have if its probabilities were right.
    agreement : cosine of annotation and prediction at a small size, from 0 to 1.
    shift : (down, right) as shares of height and width that brings the annotation to its best
        place, where its agreement is `shifted`.
    exchange : the pair of classes that is best exchanged; None with one class.
    doubts : objects in one of both.
    objects : class id -> radii and areas of the annotated objects.
    parts : class id -> areas of the predicted objects.
    confidence : [classes, 2], sum of the probabilities of each class where it is annotated, and
        pixels there.
    annotation, prediction : unit vectors, at a small size.
    """

    case: Case
    dice: float
    sureness: float
    agreement: float
    shift: tuple[float, float]
    shifted: float
    exchange: Exchange | None
    doubts: tuple[DoubtfulObject, ...]
    objects: dict[int, tuple[NDArray[np.float64], NDArray[np.int64]]]
    parts: dict[int, NDArray[np.int64]]
    confidence: NDArray[np.float64]
    annotation: NDArray[np.float32]
    prediction: NDArray[np.float32]

    @classmethod
    def of(
        cls, case: Case, labels: NDArray[np.uint8], probabilities: NDArray[np.float32]
    ) -> CaseEvidence:
        """Compare an annotation with what a network says that has not learned it.

        Parameters
        ----------
        labels : class ids [h, w], IGNORED where nothing counts.
        probabilities : [h, w, classes], or [h, w, 1] of one class.
        """
        labels, p = _without_ignored(*_reduced(labels, with_background(probabilities)))
        classes = p.shape[-1]
        predicted = p.argmax(axis=-1).astype(np.uint8)
        decided = _planes(predicted, classes) * p
        annotated = _planes(labels, classes)
        marks, found = _small(annotated[..., 1:], _SIDE), _small(decided[..., 1:], _SIDE)
        shift, shifted = _best_shift(marks, found)
        dice, sureness = _dice_and_sureness(annotated, decided, p)
        return cls(
            case,
            dice,
            sureness,
            _cosine(marks, found),
            shift,
            shifted,
            _best_exchange(marks, found),
            tuple(_doubtful_objects(labels, predicted, p)),
            {c: _sizes(labels == c) for c in range(1, classes)},
            {c: _sizes(predicted == c)[1] for c in range(1, classes)},
            np.stack([(annotated * p).sum(axis=(0, 1)), annotated.sum(axis=(0, 1))], axis=-1),
            _unit(_small(annotated[..., 1:], _OF_OTHERS)),
            _unit(_small(decided[..., 1:], _OF_OTHERS)),
        )


def _reduced(
    labels: NDArray[np.uint8], p: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Both at a size that objects can be looked at in little time."""
    height, width = labels.shape
    scale = _LONGEST / max(height, width)
    if scale >= 1:
        return labels, p
    size = max(1, round(height * scale)), max(1, round(width * scale))
    reduced = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    planes = [cv2.resize(q, size[::-1], interpolation=cv2.INTER_AREA) for q in _each(p)]
    return np.asarray(reduced, np.uint8), np.stack(planes, axis=-1)


def _each(planes: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    return (np.ascontiguousarray(planes[..., c]) for c in range(planes.shape[-1]))


def _without_ignored(
    labels: NDArray[np.uint8], p: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Background on both sides where nothing counts."""
    ignored = labels == IGNORED
    if not ignored.any():
        return labels, p
    p = p.copy()
    p[ignored] = np.eye(1, p.shape[-1], dtype=np.float32)
    return np.where(ignored, np.uint8(0), labels), p


def _planes(labels: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    return (labels[..., None] == np.arange(classes)).astype(np.float32)


def _small(planes: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Planes [h, w, classes] as a square of `side`; its proportions do not matter here."""
    shrunk = [cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in _each(planes)]
    return np.stack(shrunk, axis=-1)


def _unit(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    vector = planes.ravel()
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(_unit(a) @ _unit(b))


def _best_shift(
    marks: NDArray[np.float32], found: NDArray[np.float32]
) -> tuple[tuple[float, float], float]:
    """Where `marks` agree best with `found`, and how well, of all shifts by whole pixels."""
    size = (2 * _SIDE, 2 * _SIDE)  # what leaves the picture does not come in again
    spectra = rfft2(found, size, axes=(0, 1)) * np.conj(rfft2(marks, size, axes=(0, 1)))
    products = irfft2(spectra.sum(axis=-1), size)
    best = np.unravel_index(int(products.argmax()), size)
    norms = float(np.linalg.norm(marks) * np.linalg.norm(found))
    # Rounding of the transform must not move what is in its place.
    if norms <= 1e-9 or products[best] <= products[0, 0] + 1e-4 * norms:
        return (0.0, 0.0), _cosine(marks, found)
    down, right = (int(i) if i < _SIDE else int(i) - 2 * _SIDE for i in best)
    return (down / _SIDE, right / _SIDE), float(products[best]) / norms


def _best_exchange(marks: NDArray[np.float32], found: NDArray[np.float32]) -> Exchange | None:
    classes = marks.shape[-1]
    tried = []
    for a, b in combinations(range(classes), 2):
        order = [*range(classes)]
        order[a], order[b] = b, a
        tried.append(Exchange(a + 1, b + 1, _cosine(marks[..., order], found)))
    return max(tried, key=lambda exchange: exchange.agreement, default=None)


def _dice_and_sureness(
    annotated: NDArray[np.float32], decided: NDArray[np.float32], p: NDArray[np.float32]
) -> tuple[float, float]:
    """Means over the foreground classes that either shows; 1 where none does."""
    axes = (0, 1)
    marked, total = annotated.sum(axis=axes)[1:], p.sum(axis=axes)[1:]
    mass, size = decided.sum(axis=axes)[1:], (decided > 0).sum(axis=axes)[1:]
    common = (annotated * (decided > 0)).sum(axis=axes)[1:]
    shown = marked + size >= _FEWEST_PIXELS
    if not shown.any():
        return 1.0, 1.0
    dice = 2 * common / np.maximum(marked + size, 1)
    # Where a class is predicted nowhere, the network is sure of its absence.
    absent = np.clip(1 - total / np.maximum(marked, 1), 0, 1)
    sure = np.where(size > 0, 2 * mass / np.maximum(size + total, 1e-9), absent)
    return float(dice[shown].mean()), float(sure[shown].mean())


def _sizes(region: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Radii (of the largest circle inside) and areas of the objects of a mask."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.int64)
    if count == 1:
        return np.zeros(0), areas
    radii = np.zeros(count)
    np.maximum.at(radii, numbers.ravel(), _depths(region).ravel())
    return radii[1:], areas


def _depths(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each pixel of a region from its outside; the picture's edge is none."""
    depths = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
    # Of a region without an outside it is infinite.
    return np.minimum(depths, np.float32(max(region.shape) / 2))


def _doubtful_objects(
    labels: NDArray[np.uint8], predicted: NDArray[np.uint8], p: NDArray[np.float32]
) -> Iterator[DoubtfulObject]:
    wrong = labels != predicted
    pairs = np.unique(labels[wrong].astype(int) * 256 + predicted[wrong])
    shares = {
        True: _shares_of_components(predicted > 0, labels > 0),
        False: _shares_of_components(labels > 0, predicted > 0),
    }
    for annotated, there in (divmod(int(pair), 256) for pair in pairs):
        region = (labels == annotated) & (predicted == there)
        depths = _depths(region)
        count, numbers, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
        share = shares[annotated == 0]
        for number in range(1, count):
            left, top, width, height, area = stats[number]
            if area < _FEWEST_PIXELS:
                continue
            box = slice(top, top + height), slice(left, left + width)
            own = numbers[box] == number
            depth = np.where(own, depths[box], 0)
            core = depth >= depth.max() / 2
            yield DoubtfulObject(
                annotated,
                there,
                float(depth.max()),
                float(p[..., there][box][core].mean()),
                bool(share[box][core].mean() < _ALONE),
            )


def _shares_of_components(
    region: NDArray[np.bool_], other: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """For each pixel, which share of its component of `region` is in `other`; 0 outside."""
    count, numbers = cv2.connectedComponents(region.astype(np.uint8))
    sizes = np.bincount(numbers.ravel(), minlength=count)
    both = np.bincount(numbers.ravel(), other.ravel(), minlength=count)
    shares = both / np.maximum(sizes, 1)
    shares[0] = 0
    return np.asarray(shares[numbers])
