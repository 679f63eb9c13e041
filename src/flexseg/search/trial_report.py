"""How a trial does, epoch by epoch, and whether it shall go on."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from flexseg.errors import TrainingError
from flexseg.search.study import STEPS
from flexseg.training.callbacks.recorder import rank

if TYPE_CHECKING:
    from optuna.trial import Trial


class Flag(Protocol):
    """Of an event between processes, what is asked here."""

    def is_set(self) -> bool:
        """Whether all shall stop."""


class TrialReport:
    """Hears how a trial does, epoch by epoch, and says when it shall stop.

    The score is that of the epoch whose weights a training keeps, see `rank`.

    Parameters
    ----------
    metric : of the validation, which is the score.
    seconds : for the trial.
    stop : is set when the whole search shall stop.

    Attributes
    ----------
    pruned, interrupted : why it shall stop.
    share : of its time that had gone when it was last compared with others.
    """

    def __init__(self, trial: Trial, metric: str, seconds: float, stop: Flag) -> None:
        self.trial = trial
        self.metric = metric
        self.seconds = seconds
        self.stop = stop
        self.started = time.monotonic()
        self.score: float | None = None
        self.epochs = 0
        self.pruned = False
        self.interrupted = False
        self.share = 0.0
        self._best = (-math.inf, -math.inf)
        self._step = 0

    def elapsed(self) -> float:
        """Seconds since the trial began."""
        return time.monotonic() - self.started

    def shall_stop(self) -> bool:
        """Whether the whole search was asked to stop."""
        self.interrupted = self.interrupted or self.stop.is_set()
        return self.interrupted

    def epoch(self, values: Mapping[str, float]) -> bool:
        """Take the values of an epoch; True: the trial shall end.

        Raises
        ------
        TrainingError : there is no score among them, or it is not finite.
        """
        self.epochs += 1
        score = values.get(self.metric)
        if "val_loss" not in values or score is None or not math.isfinite(score):
            raise TrainingError(
                f"{self.metric} became {score} in epoch {self.epochs}.",
                "A lower learning_rate or precision = 'float32' usually helps.",
            )
        if rank(values) > self._best:
            self._best, self.score = rank(values), score
        step = min(STEPS, int(STEPS * self.elapsed() / self.seconds))
        for passed in range(self._step + 1, step + 1):
            self.trial.report(float(self.score or 0.0), passed)
        if step > self._step and step < STEPS:
            self.pruned = self.trial.should_prune()
            self.share = self.elapsed() / self.seconds
        self._step = max(step, self._step)
        return self.pruned or self.shall_stop()
