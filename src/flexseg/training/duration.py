"""How long a training lasts, by epochs or by the clock, and its learning rate until the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import keras

from flexseg.batches.batch_dataset import BatchDataset
from flexseg.config.train import TrainConfig
from flexseg.training.callbacks.averaging import AveragedWeights
from flexseg.training.callbacks.checkpointer import Remembered
from flexseg.training.callbacks.clock import Clock, TimeLimit
from flexseg.training.callbacks.schedule import LearningRate, factor
from flexseg.training.checkpoint import Progress

# More epochs than any time suffices for.
_ENDLESS = 1_000_000
# A training that has used this much of its time is over.
_NEARLY = 0.97


def is_over(train: TrainConfig, progress: Progress) -> bool:
    """All epochs or minutes are over, or early stopping has ended the training."""
    waited = progress.callbacks.get("stopper", {}).get("wait", 0)
    if 0 < train.patience <= waited:
        return True
    if not train.minutes:
        return progress.epoch >= train.epochs
    finished = progress.callbacks.get("clock", {}).get("minutes", 0.0)
    used = max(60 * finished, progress.seconds)
    # Without a validation there is nothing to keep.
    return progress.epoch > 0 and used >= _NEARLY * 60 * train.minutes


def clock_of(train: TrainConfig, started: float, progress: Progress) -> Clock:
    """The clock of a training; without `[train] minutes` its time is endless.

    Parameters
    ----------
    started : `time.monotonic()` of when the time of `[train] minutes` begins.
    """
    return Clock(60 * train.minutes or math.inf, started, progress.seconds)


class Schedule:
    """When a training ends, and what its learning rate is until then.

    Parameters
    ----------
    learning_rate : the highest.
    batches : of the training.
    clock : see `clock_of`.

    Attributes
    ----------
    epochs : epochs at most.
    agreed : tells the share that is done by the clock, where several processes agree about it.
    """

    def __init__(
        self,
        train: TrainConfig,
        learning_rate: float,
        batches: BatchDataset,
        validation: BatchDataset | None,
        clock: Clock,
    ) -> None:
        self.train = train
        self.agreed: Callable[[], float] | None = None
        self.learning_rate = learning_rate
        self.batches = batches
        self.limit: TimeLimit | None = None
        self.epochs = self.train.epochs
        if self.train.minutes:
            self.limit = TimeLimit(clock, len(validation.plan) if validation else 0)
            self.epochs = _ENDLESS

    def callbacks(self, remember: Remembered) -> list[keras.callbacks.Callback]:
        """They set the learning rate and stop in time; what they remember goes to `remember`."""
        train = self.train
        callbacks: list[keras.callbacks.Callback] = []
        if train.schedule != "constant" or train.warmup:
            shape = partial(factor, train.schedule, warmup=train.warmup, cycles=train.snapshots)
            # After the warm-up a constant rate is the reducer's to change.
            until = train.warmup if train.schedule == "constant" else math.inf
            callbacks.append(LearningRate(self.learning_rate, shape, self.done, until))
        if self.limit is not None:
            remember["clock"] = (self.limit, ("minutes",))
            callbacks.append(self.limit)
        return callbacks

    def done(self, batch: int) -> float:
        """Share of the training that is done before batch `batch` of the present epoch."""
        if self.limit is not None:
            return self.limit.share() if self.agreed is None else self.agreed()
        done = (self.batches.start + batch) / len(self.batches.plan)
        return (self.batches.epoch + done) / self.epochs

    def number(self, epoch: int) -> str:
        """The number of an epoch, counted from 1, and of how many where that is known."""
        return f"{epoch}/{self.epochs}" if self.limit is None else str(epoch)


def averaging(
    ema: float, callbacks: Sequence[keras.callbacks.Callback]
) -> list[keras.callbacks.Callback]:
    """The callbacks, with averaged weights in the network while they act at an epoch's end."""
    if not ema:
        return list(callbacks)
    averaged = AveragedWeights()
    return [averaged, *callbacks, averaged.after]
