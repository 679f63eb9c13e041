"""All metrics of one case, class by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flexseg.config.schema import EvalConfig
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.evaluation.metrics.calibration import Reliability, of_decisions, with_background
from flexseg.evaluation.metrics.counts import PixelCounts, confusion, counts_by_class
from flexseg.evaluation.metrics.lesions import Lesions, lesions_of
from flexseg.evaluation.metrics.masks import OBJECT_IOU, MaskPair
from flexseg.evaluation.metrics.metric import all_metrics

if TYPE_CHECKING:
    from flexseg.inference.results.prediction_table import Judgement


@dataclass(frozen=True)
class Measures:
    """What distances are measured with.

    Attributes
    ----------
    spacing : size of a pixel along each axis in mm; None: distances are in pixels.
    tolerance : of the normalized surface distance, in the same unit.
    lesion_sizes : bounds between the size classes of lesions, in pixels (volumes: voxels).
    volumes : the cases are volumes, each with a spacing of its own in mm.
    object_iou : from which on two objects fit; 0: one common pixel is enough.
    """

    spacing: tuple[float, ...] | None = None
    tolerance: float = 2.0
    lesion_sizes: tuple[int, ...] = (10, 100, 1000)
    volumes: bool = False
    object_iou: float = OBJECT_IOU

    @classmethod
    def from_config(cls, config: EvalConfig) -> Measures:
        """What `[eval]` says."""
        return cls(
            config.spacing,
            config.tolerance,
            tuple(config.lesion_sizes),
            object_iou=config.object_iou,
        )

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
    values : of all metrics by name; NaN where one is undefined.
    """

    counts: PixelCounts
    lesions: Lesions
    values: Mapping[str, float]


@dataclass(frozen=True)
class CaseResult:
    """One scored case.

    Attributes
    ----------
    matrix : pixel counts [classes, classes], rows are the reference.
    classes : scores of the foreground classes, by ascending id.
    calibration : of the predicted classes; None without probabilities.
    voxel_ml : size of a voxel in ml; None for an image.
    ignored : pixels that count in nothing.
    judgement : what is known of the prediction without its reference; None without a network.
    """

    matrix: NDArray[np.int64]
    classes: tuple[ClassScores, ...]
    calibration: Reliability | None = None
    voxel_ml: float | None = None
    ignored: int = 0
    judgement: Judgement | None = None


def score_case(
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    classes: int,
    measures: Measures,
    probabilities: NDArray[np.float32] | None = None,
) -> CaseResult:
    """Compare a prediction with its reference.

    Where the reference is IGNORED, no pixel is counted, and for objects and surfaces both masks
    are background: what is predicted there is neither right nor wrong. nnU-Net leaves its ignore
    label out of the counts in the same way. A surface ends where the ignored region begins, in
    both masks alike.

    Parameters
    ----------
    reference, prediction : class ids [H, W] or [D, H, W]; in predictions IGNORED is background.
    classes : number of classes, the background included.
    probabilities : [..., classes] float32 ([..., 1] of one sigmoid channel), if there are any.
    """
    given, ignored = reference, reference == IGNORED
    left_out = int(np.count_nonzero(ignored))
    prediction = _background(prediction, prediction == IGNORED)
    reference, seen = _background(reference, ignored), _background(prediction, ignored)
    # Volumes slice by slice, because counting takes eight bytes per voxel.
    slices = (-1, *reference.shape[-2:])
    pairs = zip(reference.reshape(slices), seen.reshape(slices), strict=True)
    matrix = np.sum([confusion(r, p, classes) for r, p in pairs], axis=0)
    matrix[0, 0] -= left_out
    counts = counts_by_class(matrix)
    if probabilities is not None:
        probabilities = with_background(probabilities)
    spacing = measures.steps(reference.ndim)
    scores = []
    for c in range(1, classes):
        probability = None if probabilities is None else probabilities[..., c]
        masks = (reference == c, seen == c)
        pair = MaskPair(
            *masks,
            counts[c],
            spacing,
            measures.tolerance,
            probability,
            ignored if left_out else None,
            measures.object_iou,
        )
        values = {metric.name: metric.of(pair) for metric in all_metrics()}
        scores.append(ClassScores(counts[c], lesions_of(pair), values))
    decisions = None if probabilities is None else of_decisions(probabilities, given, prediction)
    return CaseResult(matrix, tuple(scores), decisions, ignored=left_out)


def _background(labels: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Class ids with 0 at some pixels; the same array where there are none."""
    return np.where(where, np.uint8(0), labels) if where.any() else labels
