"""How a training runs its course: by epochs or by the clock, with which learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import keras

from flexseg.config.schema import Experiment, TrainConfig
from flexseg.data.batches import BatchDataset
from flexseg.training.averaging import AveragedWeights
from flexseg.training.callbacks import Remembered
from flexseg.training.checkpoint import Progress
from flexseg.training.clock import Clock, TimeLimit
from flexseg.training.schedule import LearningRate, factor

# More epochs than any time suffices for.
_ENDLESS = 1_000_000
# A training that has used this much of its time is over.
_NEARLY = 0.97


def time_is_over(train: TrainConfig, progress: Progress) -> bool:
    """Whether an interrupted training has no time left to go on."""
    finished = progress.callbacks.get("clock", {}).get("minutes", 0.0)
    return finished >= train.minutes or progress.seconds >= _NEARLY * 60 * train.minutes


class Course:
    """When a training ends, and what its learning rate is until then.

    Parameters
    ----------
    batches : of the training.
    started : `time.monotonic()` of when the time of `[train] minutes` begins.

    Attributes
    ----------
    epochs : epochs at most.
    """

    def __init__(
        self,
        experiment: Experiment,
        batches: BatchDataset,
        validation: BatchDataset | None,
        progress: Progress,
        started: float,
    ) -> None:
        self.train = experiment.train
        self.rate = experiment.model.learning_rate
        self.batches = batches
        self.limit: TimeLimit | None = None
        self.epochs = self.train.epochs
        if self.train.minutes:
            clock = Clock(60 * self.train.minutes, started, progress)
            self.limit = TimeLimit(clock, len(validation.plan) if validation else 0)
            self.epochs = _ENDLESS

    def callbacks(self, remember: Remembered) -> list[keras.callbacks.Callback]:
        """They set the learning rate and stop in time; what they remember goes to `remember`."""
        train = self.train
        callbacks: list[keras.callbacks.Callback] = []
        if train.schedule != "constant" or train.warmup:
            course = partial(factor, train.schedule, warmup=train.warmup, cycles=train.snapshots)
            callbacks.append(LearningRate(self.rate, course, self.done))
        if self.limit is not None:
            remember["clock"] = (self.limit, ("minutes",))
            callbacks.append(self.limit)
        return callbacks

    def done(self, batch: int) -> float:
        """Share of the training that is done before batch `batch` of the present epoch."""
        if self.limit is not None:
            return self.limit.share()
        done = (self.batches.start + batch) / len(self.batches.plan)
        return (self.batches.epoch + done) / self.epochs

    def ends(self, epoch: int) -> str:
        """How far the training is in epoch number `epoch`, counted from 1, for people."""
        if self.limit is None:
            return f"{epoch}/{self.epochs}"
        clock = self.limit.clock
        return f"{epoch} ({clock.elapsed() / 60:.1f} of {clock.seconds / 60:g} min)"


def averaging(
    ema: float, callbacks: Sequence[keras.callbacks.Callback]
) -> list[keras.callbacks.Callback]:
    """The callbacks, with averaged weights in the network while they act at an epoch's end."""
    if not ema:
        return list(callbacks)
    averaged = AveragedWeights()
    return [averaged, *callbacks, averaged.after]
