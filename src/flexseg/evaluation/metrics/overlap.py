"""Overlap of a predicted with a reference segmentation, from pixel counts.

Definitions follow Metrics Reloaded (Maier-Hein et al. 2024, Nature Methods 21).
"""

from __future__ import annotations

from flexseg.evaluation.metrics.counts import PixelCounts, ratio
from flexseg.evaluation.metrics.metric import UNDEFINED, Metric, register


def dice(c: PixelCounts) -> float:
    """2 TP / (2 TP + FP + FN); Dice 1945."""
    return ratio(2 * c.true_positive, c.reference + c.prediction)


def iou(c: PixelCounts) -> float:
    """TP / (TP + FP + FN); Jaccard 1912."""
    return ratio(c.true_positive, c.true_positive + c.false_positive + c.false_negative)


def precision(c: PixelCounts) -> float:
    """TP / (TP + FP)."""
    return ratio(c.true_positive, c.prediction)


def recall(c: PixelCounts) -> float:
    """TP / (TP + FN), also called sensitivity."""
    return ratio(c.true_positive, c.reference)


def specificity(c: PixelCounts) -> float:
    """TN / (TN + FP); undefined where the class is everywhere in the reference."""
    return ratio(c.true_negative, c.true_negative + c.false_positive)


register(
    Metric(
        "dice",
        "Dice",
        family="overlap",
        unit="share",
        better="higher",
        meaning="Overlap of prediction and reference: twice the common {area} divided by the sum "
        "of both.",
        from_counts=dice,
        missed=0.0,
        false_positive=0.0,
        terminal=0,
    )
)
register(
    Metric(
        "iou",
        "IoU",
        family="overlap",
        unit="share",
        better="higher",
        meaning="Overlap as common {area} divided by united {area}; never higher than Dice.",
        from_counts=iou,
        missed=0.0,
        false_positive=0.0,
        terminal=112,
    )
)
register(
    Metric(
        "precision",
        "Precision",
        family="overlap",
        unit="share",
        better="higher",
        meaning="Share of what was marked that is right.",
        from_counts=precision,
        missed=UNDEFINED,
        false_positive=0.0,
        missed_in_mean=0.0,
        terminal=96,
    )
)
register(
    Metric(
        "recall",
        "Recall",
        family="overlap",
        unit="share",
        better="higher",
        meaning="Share of what is there that was marked (sensitivity).",
        from_counts=recall,
        missed=0.0,
        terminal=0,
    )
)
register(
    Metric(
        "specificity",
        "Specificity",
        family="overlap",
        unit="share",
        better="higher",
        meaning="Share of the rest that was left unmarked; near 1 wherever objects are small.",
        from_counts=specificity,
        false_positive=None,
        absent=None,
    )
)
