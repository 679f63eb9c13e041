"""What is shown while a training goes on."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from flexseg.training import checkpoint
from flexseg.training.callbacks import progress
from flexseg.training.callbacks.progress import Output, ProgressLine

STEPS = 400


class Extent:
    """Of a single epoch."""

    def done(self, batch: int) -> float:
        return batch / STEPS

    def number(self, epoch: int) -> str:
        return f"{epoch}/1"


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, width: int) -> str:
    """An epoch of 400 steps of half a second."""
    now = 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=width, color_system=None)
    dataset = SimpleNamespace(delivered={}, num_batches=STEPS)
    line = ProgressLine(Output(console), dataset, Extent(), checkpoint.Progress())  # type: ignore[arg-type]
    with line:
        line.on_epoch_begin(0)
        for batch in range(STEPS):
            now += 0.5
            line.on_train_batch_end(batch, {"loss": 0.5})
        if terminal and line._bar is not None:
            line._bar.refresh()
        line.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.4, "val_dice": 0.8})
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_of_the_whole_training_in_one_line(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    text = shown(monkeypatch, terminal=True, width=width)
    bars = [row for row in text.replace("\r", "\n").split("\n") if "epoch 1/1" in row]
    assert bars and "loss 0.5000" in bars[-1] and "left" in bars[-1]
    assert "1/1  0.5000    0.4000    0.8000" in text and "best" in text


def test_a_long_epoch_is_not_silent_where_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = shown(monkeypatch, terminal=False, width=80).splitlines()
    reminders = [row for row in rows if row.startswith("epoch 1/1: step ")]
    assert len(reminders) == 6
    assert reminders[0] == "epoch 1/1: step 61 of 400, loss 0.5000, about 2:50 left"
    assert rows[-1].endswith("best") and "\x1b" not in "".join(rows)


def test_no_time_left_is_told_before_it_can_be_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first step that compiles for a minute tells nothing about the steps of half a second."""
    now = 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    dataset = SimpleNamespace(delivered={}, num_batches=STEPS)
    line = ProgressLine(Output(), dataset, Extent(), checkpoint.Progress())  # type: ignore[arg-type]
    line.on_epoch_begin(0)
    told = []
    for batch in range(30):
        now += 60.0 if batch == 0 else 0.5
        line.on_train_batch_end(batch, {"loss": 0.5})
        told.append(line._left(line.extent.done(batch + 1)))
    assert told[:10] == [None] * 10
    assert told[10:] == [0.5 * (STEPS - batch - 1) for batch in range(10, 30)]


def test_a_terminal_breaks_lines_between_words_and_leaves_long_paths_whole() -> None:
    def told(text: str, *, terminal: bool) -> list[str]:
        file = io.StringIO()
        Output(Console(file=file, force_terminal=terminal, width=20, color_system=None)).say(text)
        return [row.rstrip() for row in file.getvalue().splitlines()]

    text, path = "training on 16 cases, validation on 5.", f"see /{'a' * 30} there"
    assert told(text, terminal=True) == ["training on 16", "cases, validation on", "5."]
    assert told(path, terminal=True) == [path]
    assert told(text, terminal=False) == [text]
