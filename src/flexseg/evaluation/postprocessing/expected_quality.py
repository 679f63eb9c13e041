"""How the signals of predictions tell their Dice, learned from cached predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexseg.evaluation.postprocessing.cached_predictions import PredictionCache, Unit
from flexseg.evaluation.postprocessing.improvement import Counts
from flexseg.inference.trust.conformal import ClassCalibration
from flexseg.inference.trust.signal import SignalSum


def calibrated(
    cache: PredictionCache, units: Sequence[Unit], final: Sequence[Counts], *, members: bool
) -> dict[int, ClassCalibration]:
    """Class id -> calibration.

    Parameters
    ----------
    final : pixels of each foreground class in the units, after all postprocessing.
    members : see `Signal.values`.
    """
    values = []
    for unit in units:
        total = SignalSum()
        for number in unit.cases:
            total(cache.signals[number])
        if total.signal is not None:
            values.append(total.signal.values(members=members))
    signals = np.array(values)
    groups = [unit.group for unit in units]
    return {
        class_id: ClassCalibration.of(
            signals[:, class_id - 1], counts.score, counts.predicted > 0, groups
        )
        for class_id, counts in enumerate(final, start=1)
    }
