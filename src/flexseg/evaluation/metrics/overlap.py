"""Overlap of a predicted with a reference segmentation, per case and class, on hard labels.

Definitions follow Metrics Reloaded (Maier-Hein et al. 2024, Nature Methods 21).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["scored", "missed", "false positive", "absent"]
METRICS = ("dice", "iou", "precision", "recall", "specificity")


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of one class in one case.

    Attributes
    ----------
    true_positive, false_positive, false_negative, true_negative : pixels.
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def reference(self) -> int:
        """Pixels of the class in the reference."""
        return self.true_positive + self.false_negative

    @property
    def prediction(self) -> int:
        """Pixels of the class in the prediction."""
        return self.true_positive + self.false_positive

    @property
    def status(self) -> Status:
        """`absent` in both, `false positive` (only predicted), `missed` (not predicted at
        all), or `scored`."""
        if self.reference == 0:
            return "false positive" if self.prediction else "absent"
        return "scored" if self.prediction else "missed"

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN if the class is absent in both."""
        return ratio(2 * self.true_positive, self.reference + self.prediction)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); NaN if the class is absent in both."""
        total = self.true_positive + self.false_positive + self.false_negative
        return ratio(self.true_positive, total)

    @property
    def precision(self) -> float:
        """TP / (TP + FP); NaN if nothing was predicted."""
        return ratio(self.true_positive, self.prediction)

    @property
    def recall(self) -> float:
        """TP / (TP + FN); NaN if the class is not in the reference."""
        return ratio(self.true_positive, self.reference)

    @property
    def specificity(self) -> float:
        """TN / (TN + FP); NaN if the class is everywhere in the reference."""
        return ratio(self.true_negative, self.true_negative + self.false_positive)

    @property
    def area_error(self) -> float:
        """Predicted / reference pixels - 1 (relative difference of area or volume): negative
        where too little is predicted; NaN if the class is not in the reference."""
        return ratio(self.prediction, self.reference) - 1


def ratio(part: float, whole: float) -> float:
    """part / whole, NaN without a whole."""
    return part / whole if whole else float("nan")


def confusion(
    reference: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Pixel counts [classes, classes]: rows are reference, columns prediction."""
    joint = reference.astype(np.int64).ravel() * classes + prediction.ravel()
    return np.bincount(joint, minlength=classes * classes).reshape(classes, classes)


def overlaps(matrix: NDArray[np.int64]) -> list[Overlap]:
    """The overlap of each class, the background included, from a confusion matrix."""
    true = np.diag(matrix)
    total = int(matrix.sum())
    return [
        Overlap(int(t), int(p - t), int(r - t), total - int(p + r - t))
        for t, r, p in zip(true, matrix.sum(axis=1), matrix.sum(axis=0), strict=True)
    ]
