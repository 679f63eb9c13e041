"""The size of a predicted segmentation against that of its reference."""

from __future__ import annotations

from flexseg.evaluation.metrics.counts import PixelCounts, ratio
from flexseg.evaluation.metrics.metric import Metric, register


def area_error(c: PixelCounts) -> float:
    """Predicted / reference pixels - 1: -0.2 is a fifth too little; of volumes the volume error."""
    return ratio(c.prediction, c.reference) - 1


register(
    Metric(
        "area_error",
        "{area} error",
        family="size",
        unit="signed share",
        better="near 0",
        meaning="Predicted divided by reference {area}, minus one: below 0 too small, above 0 "
        "too large.",
        from_counts=area_error,
        missed=-1.0,
    )
)
