"""Pixel counts of classes: what a reference and a prediction have in common, on hard labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["scored", "missed", "false positive", "absent"]


@dataclass(frozen=True)
class PixelCounts:
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


def ratio(part: float, whole: float) -> float:
    """part / whole, NaN without a whole."""
    return part / whole if whole else float("nan")


def confusion(
    reference: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Pixel counts [classes, classes]: rows are reference, columns prediction."""
    joint = reference.astype(np.int64).ravel() * classes + prediction.ravel()
    return np.bincount(joint, minlength=classes * classes).reshape(classes, classes)


def counts_by_class(matrix: NDArray[np.int64]) -> list[PixelCounts]:
    """The counts of each class, the background included, from a confusion matrix."""
    true = np.diag(matrix)
    total = int(matrix.sum())
    return [
        PixelCounts(int(t), int(p - t), int(r - t), total - int(p + r - t))
        for t, r, p in zip(true, matrix.sum(axis=1), matrix.sum(axis=0), strict=True)
    ]
