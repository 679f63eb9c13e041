"""What happens around the steps of a training: Keras callbacks of our own."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flexseg.data.batches import BatchDataset
from flexseg.data.images import read_image, write_png
from flexseg.errors import DataError, Interrupted, ResourceError, TrainingError
from flexseg.inference.predictor import Predictor
from flexseg.outputs import write_csv, write_json, write_text
from flexseg.training import checkpoint
from flexseg.training.curves import draw_curves

logger = logging.getLogger(__name__)

STOP_FILE = "break_training"


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
    """Stops at the first loss that is not finite, and names the files of that batch."""

    def __init__(self, dataset: BatchDataset) -> None:
        super().__init__()
        self.dataset = dataset

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if math.isfinite(loss):
            return
        cases = self.dataset.cases_of(self.dataset.start + batch)
        files = ", ".join(str(case.image) for case in cases)
        raise TrainingError(
            f"The loss became {loss} in epoch {self.dataset.epoch + 1}, batch "
            f"{self.dataset.start + batch + 1}; the images of this batch: {files}.",
            "Look at these files; a lower learning_rate, a smaller clipvalue, "
            "input_normalize or precision = 'float32' usually help.",
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
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


class EpochChangeInference(keras.callbacks.Callback):
    """Predicts the same few images after every epoch, to watch the masks change."""

    def __init__(self, predictor: Predictor, images: list[Path], folder: Path) -> None:
        super().__init__()
        self.predictor = predictor
        self.folder = folder
        self.images = []
        for path in images:
            try:
                pixels = read_image(path)
                predictor.package.preprocessing.image(pixels[:2, :2], str(path))
                self.images.append((path.stem, pixels))
            except DataError as error:
                logger.warning("Left out at epoch changes: %s", error)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        palette = self.predictor.package.labels.palette
        for stem, _, p in self.predictor.probabilities(self.images):
            write_png(
                self.folder / f"Epoch_{epoch + 1}_{stem}.png", self.predictor.labels(p), palette
            )


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
    remember : name -> (callback, attributes) that belong to the state.
    """

    def __init__(
        self,
        path: Path,
        dataset: BatchDataset,
        progress: checkpoint.Progress,
        remember: dict[str, tuple[keras.callbacks.Callback, tuple[str, ...]]],
        minutes: float,
    ) -> None:
        super().__init__()
        self.path = path
        self.dataset = dataset
        self.progress = progress
        self.remember = remember
        self.interval = minutes * 60
        self.stop_signal: int | None = None
        self._restored_metrics = progress.batch == 0
        self._saved = self._started = time.monotonic()
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
        self._save(self.dataset.epoch, done)
        if self.stop_signal is not None:
            self._interrupt()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._save(epoch + 1, 0)
        if self.stop_signal is not None:
            self._interrupt()

    def _save(self, epoch: int, batch: int) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._started
        self._started = now
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


class ProgressLine(keras.callbacks.Callback):
    """One line per epoch, and a moving bar on a terminal.

    The line tells where the time went: *data* is the time that training waited for batches,
    *steps* the time in the network, then validation.

    Parameters
    ----------
    times : receives these seconds for each epoch.
    """

    def __init__(
        self,
        console: Console,
        dataset: BatchDataset,
        epochs: int,
        times: list[dict[str, float]],
    ) -> None:
        super().__init__()
        self.console = console
        self.dataset = dataset
        self.epochs = epochs
        self.times = times
        self._bar: Progress | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begin = self._last = time.perf_counter()
        self._waited = 0.0
        self._batches = 0
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}"),
                TextColumn("data {task.fields[data]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task(
                "", total=self.dataset.num_batches, epoch=epoch + 1, epochs=self.epochs,
                loss="-", data="-",
            )  # fmt: skip
            self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Engines ask ahead, so a request may end before the step that uses it begins.
        delivered, took = self.dataset.delivered.pop(batch, (self._last, 0.0))
        self._waited += min(took, max(0.0, delivered - self._last))
        self._last = time.perf_counter()
        self._batches += 1
        if self._bar is not None:
            share = self._waited / max(self._last - self._begin, 1e-9)
            self._bar.update(
                self._task,
                advance=1,
                loss=f"{(logs or {}).get('loss', 0):.4f}",
                data=f"{share:.0%}",
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._stop_bar()
        now = time.perf_counter()
        trained = self._last - self._begin
        times = {
            "data": self._waited,
            "steps": trained - self._waited,
            "validation": now - self._last,
            "batches": float(self._batches),
        }
        self.times.append(times)
        values = "  ".join(
            f"{key} {float(value):.4f}"
            for key, value in (logs or {}).items()
            if key != "learning_rate"
        )
        rate = trained / max(self._batches, 1)
        self.console.print(
            f"epoch {epoch + 1}/{self.epochs}  {values}  |  {trained + times['validation']:.1f} s: "
            f"data {times['data']:.1f}, steps {times['steps']:.1f} ({rate:.2f} each), "
            f"validation {times['validation']:.1f}",
            highlight=False,
            soft_wrap=True,
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._stop_bar()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
