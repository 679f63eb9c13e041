"""What scored cases are like: sizes of objects and images, brightness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.parallel import run_parallel
from flexseg.evaluation.metrics.counts import confusion, counts_by_class
from flexseg.forecast.failing_groups import ScoredCase


def unit_of(case: Case, *, volumes: bool) -> str:
    """What a case is scored as a part of: itself, or the volume that it is a slice of."""
    return case.group if volumes else case.id


def matrix_of(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Pixel counts [classes, classes] of what counts, rows are the reference."""
    counts = truth != IGNORED
    return confusion(truth[counts], predicted[counts], classes)


def dice_of(matrix: NDArray[np.int64]) -> float:
    """Mean Dice of the classes that are there or were predicted; NaN if none is."""
    values = [
        2 * c.true_positive / (c.reference + c.prediction)
        for c in counts_by_class(matrix)[1:]
        if c.reference + c.prediction
    ]
    return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True)
class _Look:
    """Of one image: its pixels, their sum, and by class those of its objects and their number."""

    pixels: int
    total: float
    areas: NDArray[np.int64]
    objects: NDArray[np.int64]


def look_at_cases(
    cases: Sequence[Case], reader: CaseReader, *, volumes: bool
) -> dict[str, ScoredCase]:
    """Case (volumes: volume) -> what it is like, without a score.

    Parameters
    ----------
    volumes : the cases are slices.

    Raises
    ------
    DataError : files cannot be read.
    """
    looks = run_parallel(lambda case: _look(case, reader), cases, None, None)
    units: dict[str, list[tuple[Case, _Look]]] = {}
    for case, look in zip(cases, looks, strict=True):
        units.setdefault(unit_of(case, volumes=volumes), []).append((case, look))
    return {
        name: _together(name, own[0][0].group, [look for _, look in own], reader.labels, volumes)
        for name, own in units.items()
    }


def _look(case: Case, reader: CaseReader) -> _Look:
    image, labels = reader.native(case)
    classes = len(reader.labels.classes)
    areas, objects = (np.zeros(classes, np.int64) for _ in range(2))
    for c in range(1, classes):
        mask = (labels == c).astype(np.uint8)
        areas[c] = int(mask.sum())
        objects[c] = cv2.connectedComponents(mask)[0] - 1 if areas[c] else 0
    return _Look(labels.size, float(image.mean(dtype=np.float64)) * labels.size, areas, objects)


def _together(
    name: str, group: str, looks: Sequence[_Look], labels: LabelMap, volumes: bool
) -> ScoredCase:
    pixels = sum(look.pixels for look in looks)
    areas, objects = (sum(getattr(look, k) for look in looks) for k in ("areas", "objects"))
    sizes = {
        c.name: float(areas[c.id] if volumes else areas[c.id] / objects[c.id])
        for c in labels.foreground
        if areas[c.id]
    }
    brightness = sum(look.total for look in looks) / pixels
    return ScoredCase(name, group, float("nan"), sizes, float(pixels), brightness)
