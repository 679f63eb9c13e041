"""What a training shows on the console, or writes to the log."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flexseg.backend import Logs
from flexseg.batches.batch_dataset import BatchDataset
from flexseg.training.callbacks.step_values import SECONDS, number

logger = logging.getLogger(__name__)


class Output:
    """Where a training tells how it goes.

    Parameters
    ----------
    console : None: the log.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """Tell a line."""
        if self.console is None:
            logger.info("%s", text)
        else:
            self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    @property
    def terminal(self) -> Console | None:
        """The console, if it can show a moving bar."""
        return self.console if self.console is not None and self.console.is_terminal else None


class ProgressLine(keras.callbacks.Callback):
    """One line per epoch, and a moving bar on a terminal.

    The line tells where the time went: *data* is the time that training waited for batches,
    *steps* the time in the network, then validation.

    Parameters
    ----------
    ends : tells how far the training is, e.g. "3/100", from the number of the epoch.
    times : receives these seconds for each epoch.
    """

    def __init__(
        self,
        output: Output,
        dataset: BatchDataset,
        ends: Callable[[int], str],
        times: list[dict[str, float]],
    ) -> None:
        super().__init__()
        self.output = output
        self.dataset = dataset
        self.ends = ends
        self.times = times
        self._bar: Progress | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begin = self._last = time.perf_counter()
        self._waited = 0.0
        self._batches = 0
        self._drawn = -math.inf
        if (terminal := self.output.terminal) is not None:
            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]}"),
                TextColumn("data {task.fields[data]}"),
                TimeRemainingColumn(),
                console=terminal,
                transient=True,
            )
            self._task = self._bar.add_task(
                "", total=self.dataset.num_batches, epoch=self.ends(epoch + 1), loss="-",
                data="-",
            )  # fmt: skip
            self._bar.start()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        # Engines ask ahead, so a request may end before the step that uses it begins.
        delivered, took = self.dataset.delivered.pop(batch, (self._last, 0.0))
        self._waited += min(took, max(0.0, delivered - self._last))
        self._last = time.perf_counter()
        self._batches += 1
        if self._bar is not None and self._last - self._drawn > SECONDS:
            self._drawn = self._last
            share = self._waited / max(self._last - self._begin, 1e-9)
            self._bar.update(
                self._task,
                completed=self._batches,
                loss=f"{number((logs or {}).get('loss', 0.0)):.4f}",
                data=f"{share:.0%}",
            )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
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
        self.output.say(
            f"epoch {self.ends(epoch + 1)}  {values}  |  {trained + times['validation']:.1f} s: "
            f"data {times['data']:.1f}, steps {times['steps']:.1f} ({rate:.2f} each), "
            f"validation {times['validation']:.1f}"
        )

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._stop_bar()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
