"""`predictions.csv`: of every image or volume the size, and the expected quality, of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelClass
from flexseg.inference.trust.checked_input import InputCheck
from flexseg.inference.trust.conformal import ClassQuality, Flag, worst

Cell = str | int | float | None
PREDICTION_TABLE = "predictions.csv"
# What was predicted, and how, for programs.
PREDICTION_SUMMARY = "predictions.json"
PREDICTION_HEADER = [
    "case", "class_id", "class", "pixels", "share", "volume_ml", "dice", "dice_low", "dice_high",
    "flag", "strangeness", "foreign", "why",
]  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """What is known of how far a prediction can be trusted.

    Attributes
    ----------
    quality : class id -> expected quality; empty where the model has no calibration.
    input : how the input compares with those of the training.
    """

    quality: Mapping[int, ClassQuality] = field(default_factory=dict)
    input: InputCheck = field(default=InputCheck())

    @property
    def foreign(self) -> bool:
        """The input is of another kind than the training."""
        return self.input.foreign

    def flag_of(self, class_id: int) -> Flag | None:
        """Of a class; never green for a foreign input. None: nothing is known."""
        found = self.quality.get(class_id)
        doubt: list[Flag] = ["yellow"] if self.foreign else []
        return worst([*([found.flag] if found else []), *doubt])

    @property
    def flag(self) -> Flag | None:
        """The worst of all classes."""
        doubt: list[Flag] = ["yellow"] if self.foreign else []
        return worst([*(found.flag for found in self.quality.values()), *doubt])


def counted(labels: NDArray[np.uint8]) -> dict[int, int]:
    """Class id -> pixels (voxels) of it."""
    counts = np.zeros(256, np.int64)
    for plane in labels:  # counting makes 8 bytes of each pixel
        counts += np.bincount(plane.reshape(-1), minlength=256)
    return {class_id: int(count) for class_id, count in enumerate(counts)}


def prediction_rows(
    case: str,
    counts: Mapping[int, int],
    total: int,
    judgement: Judgement,
    classes: Sequence[LabelClass],
    voxel_ml: float | None = None,
) -> list[list[Cell]]:
    """One row per class, with the cells of `PREDICTION_HEADER`.

    Parameters
    ----------
    counts : class id -> pixels or voxels.
    total : pixels or voxels of the case.
    classes : all but the background.
    voxel_ml : millilitres of a voxel; None for images.
    """
    rows: list[list[Cell]] = []
    strange = judgement.input.strangeness
    for c in classes:
        count = counts.get(c.id, 0)
        q = judgement.quality.get(c.id)
        values = (None, None, None) if q is None else (q.dice, q.low, q.high)
        size = [
            count,
            round(count / max(total, 1), 6),
            None if voxel_ml is None else round(count * voxel_ml, 6),
        ]
        dice = [None if value is None else round(value, 4) for value in values]
        kind = ("yes" if judgement.foreign else "no") if judgement.input.known else None
        told = [
            None if strange is None else round(strange, 3),
            kind,
            ", ".join(judgement.input.reasons) or None,
        ]
        rows.append([case, c.id, c.name, *size, *dice, judgement.flag_of(c.id), *told])
    return rows
