"""A training that ends at a given time, validation and saving included."""

from __future__ import annotations

import logging
import time

import keras

from flexseg.backend import Logs

logger = logging.getLogger(__name__)

# Before the first validation has been measured: how long it takes, as a share of a training step
# per batch, and what saving takes in seconds.
_VALIDATION_STEP = 0.5
_SAVING = 2.0
# The end of an epoch may take this much longer than the last one did.
_RESERVE = 1.15


class Clock:
    """How much of the time for a training has gone.

    Parameters
    ----------
    seconds : for the whole training, over all its interruptions.
    started : `time.monotonic()` of when this part of it began.
    before : seconds that the parts before the last interruption have taken.
    """

    def __init__(self, seconds: float, started: float, before: float = 0.0) -> None:
        self.seconds = seconds
        self.started = started
        self.before = before

    def elapsed(self) -> float:
        """Seconds of training so far."""
        return self.before + time.monotonic() - self.started

    def left(self) -> float:
        """Seconds that remain."""
        return self.seconds - self.elapsed()


class TimeLimit(keras.callbacks.Callback):
    """Ends the training so that its last validation and its files are done at the given time.

    `minutes` belongs to the state of a training: those after which it has ended, 0 before.
    `reserve` is what the end of an epoch takes: the time from the last step of an epoch to the
    first of the next one, as last seen.

    Parameters
    ----------
    validation_batches : number of batches of a validation.
    """

    def __init__(self, clock: Clock, validation_batches: int) -> None:
        super().__init__()
        self.clock = clock
        self.validation_batches = validation_batches
        self.minutes = 0.0
        self.reserve = _SAVING
        self._step = 0.0
        self._measured = False
        self._last = time.monotonic()
        self._ended: float | None = None

    def share(self) -> float:
        """How much of the training is done, 0 to 1; at 1 the last validation begins."""
        return self.clock.elapsed() / max(self.clock.seconds - self.reserve, 1e-9)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.clock.left() <= self.reserve:
            logger.warning(
                "Reading the data and building the network took nearly all of the %.0f s for the "
                "training. Only one step is made; give the training more time.",
                self.clock.seconds,
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._last = time.monotonic()
        if self._ended is not None:
            self.reserve = _RESERVE * (self._last - self._ended)
            self._measured = True

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        now = time.monotonic()
        took, self._last = now - self._last, now
        # The first step compiles, and tells nothing about the others.
        if batch:
            self._step = took if not self._step else 0.9 * self._step + 0.1 * took
        if not self._measured and self._step:
            self.reserve = _SAVING + self.validation_batches * self._step * _VALIDATION_STEP
        self._ended = now
        self._stop_if_due(self._step)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        # Another epoch would have to have a step at least, and a validation.
        self._stop_if_due(self._step)

    def _stop_if_due(self, needed: float) -> None:
        if self.clock.left() - needed <= self.reserve:
            self.minutes = self.clock.seconds / 60
            self.model.stop_training = True
