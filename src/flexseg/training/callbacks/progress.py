"""What a training shows on the console, or writes to the log."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn
from rich.table import Column
from rich.text import Text

from flexseg.backend import Logs
from flexseg.batches.batch_dataset import BatchDataset
from flexseg.config.durations import clock_text
from flexseg.events import ProgressEvents, emit
from flexseg.losses import DICE
from flexseg.training.callbacks.epoch_table import EpochLine, EpochTable
from flexseg.training.callbacks.recorder import rank
from flexseg.training.callbacks.step_values import SECONDS, number
from flexseg.training.checkpoint import Progress as TrainingProgress

logger = logging.getLogger(__name__)

# Without a bar, a long epoch tells so often how far it is.
_REMINDER = 30.0
# Seconds after the first step, which compiles, until the time left can be told from the others.
_SETTLED = 5.0


class Output:
    """Where a training tells how it goes.

    Parameters
    ----------
    console : None: the log.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console

    def say(self, text: str, style: str | None = None) -> None:
        """Tell a line, which a terminal breaks between words; paths too long for it stay whole."""
        if self.console is None:
            logger.info("%s", text)
            return
        longest = max(map(len, text.split()), default=0)
        whole = not self.console.is_terminal or longest > self.console.width
        self.console.print(text, style=style, highlight=False, soft_wrap=whole, markup=False)

    @property
    def terminal(self) -> Console | None:
        """The console, if it can show a moving bar."""
        shows = self.console is not None and self.console.is_terminal and not self.console.quiet
        return self.console if shows else None


class Extent(Protocol):
    """How long a training lasts."""

    def done(self, batch: int) -> float:
        """Share of the training that is done before batch `batch` of the present epoch."""

    def number(self, epoch: int) -> str:
        """The number of an epoch, counted from 1, and of how many where that is known."""


class ProgressLine(keras.callbacks.Callback):
    """One line per epoch; a moving bar of the whole training on a terminal.

    *data* is the share of the time of the steps that training waited for batches. Where there is no
    bar, a long epoch tells now and then how far it is.

    Parameters
    ----------
    progress : of the training; its `times` receive the seconds of each epoch.
    """

    def __init__(
        self, output: Output, dataset: BatchDataset, extent: Extent, progress: TrainingProgress
    ) -> None:
        super().__init__()
        self.output = output
        self.dataset = dataset
        self.extent = extent
        self.times = progress.times
        terminal = output.terminal
        self._table = EpochTable(terminal.width if terminal else None)
        self._best, self._best_text = _best_of(progress.history)
        # What the bar says beside itself, by name.
        self._texts: dict[str, str] = {}
        self._bar = None if terminal is None else _bar(terminal)
        self._events = ProgressEvents("Training")
        self._started = time.monotonic()
        # Share and moment after the first step.
        self._first: tuple[float, float] | None = None

    def __enter__(self) -> ProgressLine:
        if self._bar is not None:
            self._task = self._bar.add_task("", total=1.0, texts=self._texts)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begin = self._last = time.perf_counter()
        self._waited = 0.0
        self._batches = 0
        self._drawn = -math.inf
        self._reminded = self._begin
        self._number = self.extent.number(epoch + 1)
        self._show(epoch=self._number, stage="")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        # Engines ask ahead, so a request may end before the step that uses it begins.
        delivered, took = self.dataset.delivered.pop(batch, (self._last, 0.0))
        self._waited += min(took, max(0.0, delivered - self._last))
        self._last = time.perf_counter()
        self._batches += 1
        if self._first is None:
            self._first = self.extent.done(batch + 1), time.monotonic()
        if self._last - self._drawn > SECONDS:
            self._drawn = self._last
            self._tell_step(batch + 1, number((logs or {}).get("loss", 0.0)))

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._show(stage="validating", data="", rate="")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        now = time.perf_counter()
        trained = self._last - self._begin
        times = {
            "data": self._waited,
            "steps": trained - self._waited,
            "validation": now - self._last,
            "batches": float(self._batches),
        }
        self.times.append(times)
        values = {k: float(v) for k, v in (logs or {}).items() if k != "learning_rate"}
        best = rank(values) > self._best
        if best:
            self._best, self._best_text = rank(values), _best_text(values)
        seconds = {key: round(times[key], 3) for key in ("data", "steps", "validation")}
        line = EpochLine(
            self._number,
            values,
            self._rate(),
            clock_text(time.monotonic() - self._started),
            **seconds,
            best=best,
        )
        for text in self._table.lines(line):
            heading = not text.lstrip().startswith(self._number)
            style = "dim" if heading else "bold green" if best else None
            self.output.say(text, style)
        emit(
            "epoch",
            epoch=epoch + 1,
            values=values,
            learning_rate=line.rate,
            seconds=seconds,
            best=best,
            done=round(self.extent.done(self._batches), 4),
        )
        self._show(best=self._best_text, stage="")

    def _tell_step(self, batch: int, loss: float) -> None:
        done = self.extent.done(batch)
        left = self._left(done)
        self._events.tell(done, 1.0, epoch=self._number, loss=loss, seconds_left=left)
        if self._bar is not None:
            share = self._waited / max(self._last - self._begin, 1e-9)
            self._show(
                completed=done,
                epoch=self._number,
                loss=f"{loss:.4f}",
                data=f"{share:.0%}",
                rate=f"{self._rate():.1e}",
                left="" if left is None else clock_text(left),
            )
        elif self._last - self._reminded > _REMINDER:
            self._reminded = self._last
            about = "" if left is None else f", about {clock_text(left)} left"
            self.output.say(
                f"epoch {self._number}: step {batch} of {self.dataset.num_batches}, "
                f"loss {loss:.4f}{about}"
            )

    def _left(self, done: float) -> float | None:
        """Seconds until the training ends, if it goes on as since its first step."""
        if self._first is None:
            return None
        since, passed = done - self._first[0], time.monotonic() - self._first[1]
        if since <= 0 or passed < _SETTLED:
            return None
        return round(passed * max(0.0, 1 - done) / since, 1)

    def _rate(self) -> float:
        return math.nan if self.model is None else number(self.model.optimizer.learning_rate)

    def _show(self, completed: float | None = None, **fields: str) -> None:
        if self._bar is not None and self._bar.tasks:
            self._texts |= fields
            self._bar.update(self._task, completed=completed, texts=self._texts)


def _bar(terminal: Console) -> Progress:
    """Where a training is; what it has no value for yet is not shown."""

    def text(name: str, label: str, style: str = "") -> TextColumn:
        column = Column(no_wrap=True)
        return _Labelled(name, label, style=style, table_column=column)

    return Progress(
        text("epoch", "epoch {}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=6)),
        text("stage", "{}"),
        text("loss", "loss {}"),
        text("rate", "rate {}", "dim"),
        text("data", "data {}", "dim"),
        text("best", "best {}", "green"),
        text("left", "{} left", "cyan"),
        console=terminal,
        transient=True,
        expand=True,
    )


class _Labelled(TextColumn):
    """A text behind its label; nothing while there is none."""

    def __init__(self, name: str, label: str, style: str, table_column: Column) -> None:
        super().__init__("", style=style or "none", markup=False, table_column=table_column)
        self.name = name
        self.label = label

    def render(self, task: Task) -> Text:
        """The label and the text."""
        value = task.fields["texts"].get(self.name)
        return Text(self.label.format(value) if value else "", style=self.style)


def _best_of(history: Mapping[str, list[float]]) -> tuple[tuple[float, float], str]:
    """The rank and the text of the best of the epochs that are over."""
    count = len(next(iter(history.values()), []))
    epochs = [{name: values[i] for name, values in history.items()} for i in range(count)]
    if not epochs:
        return (0.0, -math.inf), ""
    best = max(epochs, key=rank)
    return rank(best), _best_text(best)


def _best_text(values: Mapping[str, float]) -> str:
    for name in (f"val_{DICE}", "val_loss", "loss"):
        if name in values:
            return f"{name.removeprefix('val_')} {values[name]:.4f}"
    return ""
