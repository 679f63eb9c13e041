"""All metrics of one case, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexseg.config.schema import EvalConfig
from flexseg.evaluation.metrics.calibration import (
    Reliability,
    of_class,
    of_decisions,
    with_background,
)
from flexseg.evaluation.metrics.lesions import Lesions, find_lesions
from flexseg.evaluation.metrics.overlap import METRICS as OVERLAP_METRICS
from flexseg.evaluation.metrics.overlap import Overlap, confusion, overlaps
from flexseg.evaluation.metrics.surface import SurfaceScores, diagonal, surface_scores

METRICS = (
    *OVERLAP_METRICS,
    "hd95",
    "assd",
    "nsd",
    "area_error",
    "lesion_precision",
    "lesion_recall",
    "lesion_f1",
    "brier",
    "ece",
)
_NAN = float("nan")


@dataclass(frozen=True)
class Measures:
    """What distances are measured with.

    Attributes
    ----------
    spacing : size of a pixel along each axis in mm; None: distances are in pixels.
    tolerance : of the normalized surface distance, in the same unit.
    lesion_sizes : bounds between the size classes of lesions, in pixels (volumes: voxels).
    volumes : the cases are volumes, each with a spacing of its own in mm.
    """

    spacing: tuple[float, ...] | None = None
    tolerance: float = 2.0
    lesion_sizes: tuple[int, ...] = (10, 100, 1000)
    volumes: bool = False

    @classmethod
    def from_config(cls, config: EvalConfig) -> Measures:
        """What `[eval]` says."""
        return cls(config.spacing, config.tolerance, tuple(config.lesion_sizes))

    @property
    def units(self) -> str:
        """Of the distances: mm or px."""
        return "px" if self.spacing is None and not self.volumes else "mm"

    def steps(self, dimensions: int) -> tuple[float, ...]:
        """Size of a pixel along each axis."""
        return self.spacing or (1.0,) * dimensions


@dataclass(frozen=True)
class ClassScores:
    """One class in one case.

    Attributes
    ----------
    surface : distances; NaN where the class is not in the reference.
    calibration : of the probability of the class; None without probabilities.
    """

    overlap: Overlap
    surface: SurfaceScores
    lesions: Lesions
    calibration: Reliability | None = None

    def values(self) -> dict[str, float]:
        """All `METRICS`; NaN where a metric is undefined."""
        o, s, n, c = self.overlap, self.surface, self.lesions, self.calibration
        return {name: getattr(o, name) for name in OVERLAP_METRICS} | {
            "hd95": s.hd95,
            "assd": s.assd,
            "nsd": s.nsd,
            "area_error": o.area_error,
            "lesion_precision": n.precision,
            "lesion_recall": n.recall,
            "lesion_f1": n.f1,
            "brier": c.brier if c else _NAN,
            "ece": c.ece if c else _NAN,
        }


def averaged(overlap: Overlap, values: dict[str, float]) -> dict[str, float]:
    """Values as they go into means: only of cases that have the class, and with precision 0
    for a missed object, because nothing that should have been found was."""
    if overlap.reference == 0:
        return dict.fromkeys(values, _NAN)
    if overlap.prediction:
        return values
    return {n: 0.0 if n in ("precision", "lesion_precision") else v for n, v in values.items()}


@dataclass(frozen=True)
class CaseResult:
    """One scored case.

    Attributes
    ----------
    matrix : pixel counts [classes, classes], rows are the reference.
    classes : scores of the foreground classes, by ascending id.
    calibration : of the predicted classes; None without probabilities.
    voxel_ml : size of a voxel in ml; None for an image.
    """

    matrix: NDArray[np.int64]
    classes: tuple[ClassScores, ...]
    calibration: Reliability | None = None
    voxel_ml: float | None = None


def score_case(
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    classes: int,
    measures: Measures,
    probabilities: NDArray[np.float32] | None = None,
) -> CaseResult:
    """Compare a prediction with its reference.

    Parameters
    ----------
    reference, prediction : class ids [H, W] or [D, H, W].
    classes : number of classes, the background included.
    probabilities : [..., classes] float32 ([..., 1] of one sigmoid channel), if there are any.
    """
    # Volumes slice by slice, because counting takes eight bytes per voxel.
    slices = (-1, *reference.shape[-2:])
    pairs = zip(reference.reshape(slices), prediction.reshape(slices), strict=True)
    matrix = np.sum([confusion(r, p, classes) for r, p in pairs], axis=0)
    of_all = overlaps(matrix)
    if probabilities is not None:
        probabilities = with_background(probabilities)
    scores = []
    for c in range(1, classes):
        true, found = reference == c, prediction == c
        calibration = None if probabilities is None else of_class(probabilities[..., c], true)
        # What is outside of the box around both changes no distance and no lesion.
        box = _bounding_box(true | found)
        surface = _surface(true[box], found[box], of_all[c], reference.shape, measures)
        lesions = find_lesions(true[box], found[box])
        scores.append(ClassScores(of_all[c], surface, lesions, calibration))
    decisions = (
        None if probabilities is None else of_decisions(probabilities, reference, prediction)
    )
    return CaseResult(matrix, tuple(scores), decisions)


def _surface(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    overlap: Overlap,
    image: tuple[int, ...],
    measures: Measures,
) -> SurfaceScores:
    """The distances; of a missed object the diagonal of the image, the worst that can be."""
    spacing = measures.steps(len(image))
    if overlap.reference == 0:
        return SurfaceScores(_NAN, _NAN, _NAN)
    if overlap.prediction == 0:
        worst = diagonal(image, spacing)
        return SurfaceScores(worst, worst, 0.0)
    return surface_scores(reference, prediction, spacing, measures.tolerance)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box around a mask, empty if the mask is."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0))
    return tuple(box)
