"""The whole state of a training, saved while it goes on."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import keras

from flexseg.backend import Logs
from flexseg.batches.batch_dataset import BatchDataset
from flexseg.errors import Interrupted
from flexseg.training import checkpoint
from flexseg.training.callbacks.guards import NanGuard

logger = logging.getLogger(__name__)

# Name -> a callback, and its attributes that belong to the state of a training.
Remembered = dict[str, tuple[keras.callbacks.Callback, tuple[str, ...]]]


class Checkpointer(keras.callbacks.Callback):
    """Saves the whole state: after each epoch, every few minutes, and when asked to stop.

    Must be the last callback, so that it sees what the others did. Used as a context
    manager it turns SIGINT and SIGTERM into a stop after the current step.

    Parameters
    ----------
    guard : is asked before a state is saved within an epoch, which must not hold NaN.
    elapsed : tells the seconds of training so far, those before an interruption included.
    saves : False: another process does.

    Attributes
    ----------
    stopping : tells whether the training has to stop now.
    """

    def __init__(
        self,
        path: Path,
        dataset: BatchDataset,
        progress: checkpoint.Progress,
        guard: NanGuard,
        remember: Remembered,
        minutes: float,
        elapsed: Callable[[], float],
        *,
        saves: bool = True,
    ) -> None:
        super().__init__()
        self.path = path
        self.dataset = dataset
        self.progress = progress
        self.guard = guard
        self.remember = remember
        self.interval = minutes * 60
        self.elapsed = elapsed
        self.saves = saves
        self.stop_signal: int | None = None
        self.stopping: Callable[[], bool] = lambda: self.stop_signal is not None
        self._restored_metrics = progress.batch == 0
        self._saved = time.monotonic()
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Checkpointer:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._ask_to_stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _ask_to_stop(self, number: int, _: FrameType | None) -> None:
        if self.stop_signal is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return  # a batch system and the parent may both send it
        self.stop_signal = number
        logger.warning("Stopping after this step; press Ctrl-C again to stop without saving.")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        # Keras' callbacks forget everything here, so their memory is given back last.
        for name, (callback, attributes) in self.remember.items():
            for attribute in attributes:
                if attribute in self.progress.callbacks.get(name, {}):
                    setattr(callback, attribute, self.progress.callbacks[name][attribute])

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if not self._restored_metrics:
            checkpoint.restore(self.path, self.model, ("metrics",))
            self._restored_metrics = True

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        due = time.monotonic() - self._saved > self.interval
        done = self.dataset.start + batch + 1
        # After the last batch, the end of the epoch saves with the validation included.
        stopping = self.stopping()
        if not (stopping or due) or done >= len(self.dataset.plan):
            return
        self.guard.look()
        self._save(self.dataset.epoch, done)
        if stopping:
            self._interrupt()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._save(epoch + 1, 0)
        if self.stopping():
            self._interrupt()

    def _save(self, epoch: int, batch: int) -> None:
        self.progress.seconds = self.elapsed()
        self.progress.epoch, self.progress.batch = epoch, batch
        self.capture()
        if self.saves:
            checkpoint.save(self.path, self.model, self.progress)
        self._saved = time.monotonic()

    def capture(self) -> None:
        """Take the callbacks' memory into the progress."""
        self.progress.callbacks = {
            name: {a: _plain(getattr(callback, a)) for a in attributes if hasattr(callback, a)}
            for name, (callback, attributes) in self.remember.items()
        }

    def _interrupt(self) -> None:
        raise Interrupted(
            f"Training was stopped in epoch {self.progress.epoch + 1} after "
            f"batch {self.progress.batch}; its state is saved in {self.path}.",
            "Run the same command with --resume to continue from there.",
        )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
