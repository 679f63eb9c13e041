"""Annotations of cells with a known prediction, into which mistakes are planted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.evaluation.review.evidence import CaseEvidence
from flexseg.evaluation.review.ranking import Suspicion, rank

SIDE = 64
LABELS = LabelMap(
    (
        LabelClass(0, "background", ((0, 0, 0),)),
        LabelClass(1, "cytoplasm", ((0, 158, 115),)),
        LabelClass(2, "nucleus", ((86, 180, 233),)),
    ),
    binary=False,
)
# One cell in each of these quarters of the picture.
CENTRES = ((17, 17), (17, 47), (47, 17))


def cells(seed: int) -> NDArray[np.uint8]:
    """Class ids of three cells, each with its nucleus."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for row, column in CENTRES:
        centre = tuple(int(v + rng.integers(-3, 4)) for v in (column, row))
        cv2.circle(labels, centre, int(rng.integers(8, 11)), 1, -1)
        cv2.circle(labels, centre, int(rng.integers(4, 6)), 2, -1)
    return labels


def predicted(labels: NDArray[np.uint8], blur: float = 1.0) -> NDArray[np.float32]:
    """Probabilities [h, w, 3] of a network that is right, but unsure near outlines."""
    planes = (labels[..., None] == np.arange(3)).astype(np.float32)
    return cv2.GaussianBlur(planes, (0, 0), blur)


def case(name: str) -> Case:
    """A case without files."""
    return Case(name, Path(f"{name}.png"), Path(f"{name}_mask.png"), name)


def evidence(
    name: str, annotation: NDArray[np.uint8], probabilities: NDArray[np.float32]
) -> CaseEvidence:
    """Of a case without files."""
    return CaseEvidence.of(case(name), annotation, probabilities)


def right(count: int) -> list[CaseEvidence]:
    """Right annotations."""
    return [evidence(f"right_{i}", cells(i), predicted(cells(i))) for i in range(count)]


def judged(annotation: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> Suspicion:
    """The suspicion about one annotation among 20 right ones, whose first place is asserted if it
    is suspicious."""
    ranked = rank([*right(20), evidence("odd", annotation, probabilities)], LABELS)
    found = next(one for one in ranked if one.case.id == "odd")
    assert not found.suspicious or ranked[0] is found
    assert sum(one.suspicious for one in ranked) == found.suspicious
    return found
