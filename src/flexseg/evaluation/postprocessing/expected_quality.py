"""How the signals of predictions tell their Dice, learned from predictions of unseen cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexseg.evaluation.postprocessing.cached_predictions import PredictionCache, Unit
from flexseg.evaluation.postprocessing.improvement import Counts
from flexseg.inference.trust.conformal import ClassCalibration
from flexseg.inference.trust.signal import Signal, SignalSum
from flexseg.inference.trust.temperature import best_temperature


def signals_of(cache: PredictionCache, units: Sequence[Unit]) -> list[Signal]:
    """Of each unit the sum of its cases' signals."""
    found = []
    for unit in units:
        total = SignalSum()
        for number in unit.cases:
            total(cache.signals[number])
        if total.signal is not None:
            found.append(total.signal)
    return found


def calibrated(
    signals: Sequence[Signal], groups: Sequence[str], final: Sequence[Counts], *, members: bool
) -> dict[int, ClassCalibration]:
    """Class id -> calibration.

    Parameters
    ----------
    groups : patient or volume of each signal.
    final : pixels of each foreground class in each of the cases, after all postprocessing.
    members : see `Signal.values`.
    """
    values = np.array([signal.values(members=members) for signal in signals])
    return {
        class_id: ClassCalibration.of(
            values[:, class_id - 1], counts.score, counts.predicted > 0, groups
        )
        for class_id, counts in enumerate(final, start=1)
    }


def temperature_of(cache: PredictionCache) -> float:
    """The temperature that fits the probabilities of all cases."""
    p, truth = (np.concatenate(part) for part in zip(*cache.pixels, strict=True))
    return best_temperature(p, truth)
