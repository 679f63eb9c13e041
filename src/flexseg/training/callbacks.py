"""What happens around the steps of a training: Keras callbacks of our own.

The values of a step are arrays on the device, and a device that works asynchronously has not
computed them yet when a callback gets them. Reading one makes the host wait until it has, and the
device then waits for the host: nothing here reads one more often than every `SECONDS`.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import keras

from flexseg.batches.batch_dataset import BatchDataset
from flexseg.errors import Interrupted, ResourceError, TrainingError
from flexseg.outputs import write_csv, write_json, write_text
from flexseg.training import checkpoint
from flexseg.training.curves import draw_curves

logger = logging.getLogger(__name__)

STOP_FILE = "break_training"
# Between two looks at the values of steps.
SECONDS = 1.0
# After so many epochs without any change in the validation it is no coincidence.
_STANDSTILL = 3
# Name -> a callback, and its attributes that belong to the state of a training.
Remembered = dict[str, tuple[keras.callbacks.Callback, tuple[str, ...]]]


class StepCallbacks(keras.callbacks.CallbackList):
    """Callbacks of a `fit` that hands them the values of a step as they are.

    Keras' own list turns every value into a number at every step.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        for callback in self.callbacks:
            callback.on_test_batch_end(batch, logs)


def number(value: Any) -> float:
    """A value of a step as a number; waits until it is computed."""
    return float(keras.ops.convert_to_numpy(value))


class EpochSetter(keras.callbacks.Callback):
    """Tells the batches which epoch it is; the first may start in its middle."""

    def __init__(self, dataset: BatchDataset, first_epoch: int, first_batch: int) -> None:
        super().__init__()
        self.dataset = dataset
        self.first = (first_epoch, first_batch)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        start = self.first[1] if epoch == self.first[0] else 0
        self.dataset.set_epoch(epoch, start)


class NanGuard(keras.callbacks.Callback):
    """Stops at a loss that is not finite, and names the files of the first such batch.

    It looks every `SECONDS` and at the end of an epoch. Keras' loss is the mean over the epoch so
    far: once it is not finite, it stays so.
    """

    def __init__(self, dataset: BatchDataset) -> None:
        super().__init__()
        self.dataset = dataset
        self._unread: list[tuple[int, Any]] = []
        self._looked = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._unread.clear()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._unread.append((batch, (logs or {}).get("loss", 0.0)))
        last = batch + 1 >= self.dataset.num_batches
        if last or time.monotonic() - self._looked > SECONDS:
            self.look()
            self._looked = time.monotonic()

    def look(self) -> None:
        """Read the newest loss, and those before it only where it is not finite."""
        unread, self._unread = self._unread, []
        if not unread or math.isfinite(number(unread[-1][1])):
            return
        batch, loss = next((b, v) for b, v in unread if not math.isfinite(number(v)))
        cases = self.dataset.cases_of(self.dataset.start + batch)
        files = ", ".join(str(case.image) for case in cases)
        raise TrainingError(
            f"The loss became {number(loss)} in epoch {self.dataset.epoch + 1}, batch "
            f"{self.dataset.start + batch + 1}; the images of this batch: {files}.",
            "Look at these files; a lower learning_rate, a smaller clipvalue, "
            "input_normalize or precision = 'float32' usually help.",
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.look()  # the clock may end an epoch at any batch
        loss = float((logs or {}).get("val_loss", 0.0))
        if not math.isfinite(loss):
            raise TrainingError(
                f"The validation loss became {loss} in epoch {epoch + 1}.",
                "Look at the validation images; a lower learning_rate, a smaller clipvalue or "
                "precision = 'float32' usually help.",
            )


class SampleLog(keras.callbacks.Callback):
    """Writes which files random batches were drawn from, as the original generator does.

    `generate_images.txt`: a line `<n>_<image name>_<mask name>` per sample of the last epoch.
    """

    def __init__(self, dataset: BatchDataset, folder: Path) -> None:
        super().__init__()
        self.dataset = dataset
        self.file = folder / "generate_images.txt"

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        batches = range(len(self.dataset.plan))
        cases = [case for batch in batches for case in self.dataset.cases_of(batch)]
        lines = [f"{n}_{case.image.name}_{case.mask.name}\n" for n, case in enumerate(cases)]
        write_text(self.file, "".join(lines))


class BestModel(keras.callbacks.Callback):
    """Keeps the weights of the lowest val_loss (loss without a validation set)."""

    def __init__(self, save: Callable[[dict[str, float]], None]) -> None:
        super().__init__()
        self.save = save
        self.best = math.inf
        self.best_epoch = -1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        current = values.get("val_loss", values.get("loss", math.inf))
        if current < self.best:
            self.best, self.best_epoch = current, epoch
            self.save({"epoch": epoch, **values})


class Recorder(keras.callbacks.Callback):
    """Writes history.json, the CSV logs and the curves after each epoch.

    Parameters
    ----------
    progress : its history receives the values of each epoch.
    metrics : the two columns of train_metrics.csv.
    """

    def __init__(
        self,
        progress: checkpoint.Progress,
        eval_dir: Path,
        history_file: Path,
        metrics: list[str],
    ) -> None:
        super().__init__()
        self.progress = progress
        self.history = progress.history
        self.eval_dir = eval_dir
        self.history_file = history_file
        self.metrics = metrics

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        values.pop("learning_rate", None)
        values["lr"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        for key, value in values.items():
            self.history.setdefault(key, []).append(value)
        try:
            self.write()
        except ResourceError as error:
            # A log that is open in another program (Windows) must not end a training; all
            # values are written again after the next epoch.
            logger.warning("%s", error)

    def write(self) -> None:
        """Write all files from the history."""
        write_json(self.history_file, self.history)
        self._write_log("train_losses", ["loss", "val_loss"], "epoch, loss, val_loss")
        names = self.metrics
        self._write_log("train_metrics", names, f"epoch,{''.join(f'{n},' for n in names)}")
        columns = ("data", "steps", "validation", "batches")
        rows = [(i, *(round(t[c], 3) for c in columns)) for i, t in enumerate(self.progress.times)]
        write_csv(
            self.eval_dir / "times.csv",
            ("epoch", "data_s", "steps_s", "validation_s", "batches"),
            rows,
        )

    def _write_log(self, stem: str, names: list[str], header: str) -> None:
        # The format of the original systems: a trailing comma in one header, blanks in rows.
        count = len(next(iter(self.history.values()), []))
        columns = [self.history.get(name, [0.0] * count) for name in names]
        rows = [
            ", ".join([str(epoch), *(f"{column[epoch]:.4f}" for column in columns)])
            for epoch in range(count)
        ]
        write_text(self.eval_dir / f"{stem}.csv", "\n".join([header, *rows]) + "\n")
        draw_curves(self.eval_dir / f"{stem}.png", dict(zip(names, columns, strict=True)))


class StopFile(keras.callbacks.Callback):
    """Ends the training after the epoch in which a file `break_training` appeared."""

    def __init__(self, folders: list[Path]) -> None:
        super().__init__()
        self.files = sorted({folder / STOP_FILE for folder in folders})
        self.started = time.time()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for file in self.files:
            if file.exists() and file.stat().st_mtime >= self.started - 1:
                logger.info("%s exists: training ends after epoch %d.", file, epoch + 1)
                self.model.stop_training = True


class Checkpointer(keras.callbacks.Callback):
    """Saves the whole state: after each epoch, every few minutes, and when asked to stop.

    Must be the last callback, so that it sees what the others did. Used as a context
    manager it turns SIGINT and SIGTERM into a stop after the current step.

    Parameters
    ----------
    guard : is asked before a state is saved within an epoch, which must not hold NaN.
    elapsed : tells the seconds of training so far, those before an interruption included.
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
    ) -> None:
        super().__init__()
        self.path = path
        self.dataset = dataset
        self.progress = progress
        self.guard = guard
        self.remember = remember
        self.interval = minutes * 60
        self.elapsed = elapsed
        self.stop_signal: int | None = None
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
            raise KeyboardInterrupt
        self.stop_signal = number
        logger.warning("Stopping after this step; press Ctrl-C again to stop without saving.")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # Keras' callbacks forget everything here, so their memory is given back last.
        for name, (callback, attributes) in self.remember.items():
            for attribute in attributes:
                if attribute in self.progress.callbacks.get(name, {}):
                    setattr(callback, attribute, self.progress.callbacks[name][attribute])

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._restored_metrics:
            checkpoint.restore(self.path, self.model, ("metrics",))
            self._restored_metrics = True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        due = time.monotonic() - self._saved > self.interval
        done = self.dataset.start + batch + 1
        # After the last batch, the end of the epoch saves with the validation included.
        if (self.stop_signal is None and not due) or done >= len(self.dataset.plan):
            return
        self.guard.look()
        self._save(self.dataset.epoch, done)
        if self.stop_signal is not None:
            self._interrupt()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._save(epoch + 1, 0)
        if self.stop_signal is not None:
            self._interrupt()

    def _save(self, epoch: int, batch: int) -> None:
        self.progress.seconds = self.elapsed()
        self.progress.epoch, self.progress.batch = epoch, batch
        self.capture()
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
            f"{self.progress.batch} batches; its state is saved in {self.path}.",
            "The same command with --resume goes on from there.",
        )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def warn_of_standstill(history: Mapping[str, Sequence[float]]) -> None:
    """Tell that nothing was learned: the validation was the same after every epoch.

    Parameters
    ----------
    history : values of each epoch by name.
    """
    losses = history.get("val_loss", ())
    if len(losses) >= _STANDSTILL and max(losses) - min(losses) < 1e-5:
        logger.warning(
            "val_loss was %.4f after each of %d epochs: the network marks the same (nothing, or "
            "everything) in all images. More steps, another learning_rate, or [model] "
            'input_normalize = "standardize" usually help.',
            losses[0],
            len(losses),
        )
