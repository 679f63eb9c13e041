"""Callbacks leave the device alone between their looks at it, and still see everything."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from rich.console import Console

from config_parts import labels_of
from flexseg.batches.batch_dataset import BatchDataset
from flexseg.batches.batch_plan import BatchPlan
from flexseg.batches.store import CaseReader, open_store
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import pair
from flexseg.errors import TrainingError
from flexseg.files.preprocess import Preprocessing
from flexseg.training import checkpoint
from flexseg.training.callbacks import checkpointer, guards, progress
from flexseg.training.callbacks.checkpointer import Checkpointer
from flexseg.training.callbacks.guards import NanGuard, StopFile, warn_of_standstill
from flexseg.training.callbacks.progress import Output, ProgressLine
from flexseg.training.callbacks.step_values import EpochSetter, StepCallbacks

STEPS = 500


class Clock:
    """Time that only passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class OnDevice:
    """A value of a step; counts how often anybody waits for one."""

    reads = 0

    def __init__(self, value: float) -> None:
        self.value = value

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        type(self).reads += 1
        return np.array(self.value, np.float32)

    def __float__(self) -> float:
        return float(self.__array__())

    def __format__(self, text: str) -> str:
        return format(float(self), text)


class Extent:
    """Of an endless training."""

    def done(self, batch: int) -> float:
        return 0.0

    def number(self, epoch: int) -> str:
        return str(epoch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (checkpointer, guards, progress):
        monkeypatch.setattr(module.time, "monotonic", clock)
        monkeypatch.setattr(module.time, "perf_counter", clock)
    monkeypatch.setattr(OnDevice, "reads", 0)
    return clock


@pytest.fixture
def dataset(make_dataset: Callable[..., Path]) -> BatchDataset:
    folder = make_dataset() / "train"
    cases = pair(folder / "images", folder / "masks").cases
    reader = CaseReader(Preprocessing(16, 16, 3), labels_of(Experiment()))
    return BatchDataset(open_store(cases, reader), BatchPlan(len(cases), 2, steps=STEPS))


@pytest.fixture
def steps(clock: Clock, dataset: BatchDataset, tmp_path: Path) -> StepCallbacks:
    """All callbacks of a training that see its steps, on a terminal."""
    guard = NanGuard(dataset)
    done = checkpoint.Progress()
    console = Console(file=io.StringIO(), force_terminal=True)
    saver = Checkpointer(tmp_path / "c.npz", dataset, done, guard, {}, 10, lambda: clock.now)
    return StepCallbacks(
        [
            EpochSetter(dataset, 0, 0),
            guard,
            ProgressLine(Output(console), dataset, Extent(), done),
            StopFile([tmp_path]),
            saver,
        ]
    )


def stop_bar(steps: StepCallbacks) -> None:
    for callback in steps.callbacks:
        callback.on_train_end()


def test_values_of_steps_are_read_once_a_second_at_most(steps: StepCallbacks, clock: Clock) -> None:
    steps.on_epoch_begin(0)
    for batch in range(STEPS):
        clock.now += 0.01
        steps.on_train_batch_end(batch, {"loss": OnDevice(1.0), "dice": OnDevice(0.5)})
    stop_bar(steps)
    seconds = STEPS * 0.01
    assert 0 < OnDevice.reads <= 2 * (seconds + 1)


@pytest.mark.parametrize("bad", [0, 3, 250, STEPS - 1])
def test_the_first_loss_that_is_not_finite_is_named(
    steps: StepCallbacks, dataset: BatchDataset, clock: Clock, bad: int
) -> None:
    steps.on_epoch_begin(0)
    with pytest.raises(TrainingError, match=rf"batch {bad + 1};") as caught:
        for batch in range(STEPS):
            clock.now += 0.01
            loss = math.nan if batch >= bad else 1.0
            steps.on_train_batch_end(batch, {"loss": OnDevice(loss)})
    assert batch - bad <= 101
    for case in dataset.cases_of(bad):
        assert str(case.image) in caught.value.problem
    stop_bar(steps)


def test_a_state_that_is_not_finite_is_not_saved(
    clock: Clock, dataset: BatchDataset, tmp_path: Path
) -> None:
    guard = NanGuard(dataset)
    saver = Checkpointer(
        tmp_path / "c.npz", dataset, checkpoint.Progress(), guard, {}, 0.001, float
    )
    both = StepCallbacks([guard, saver])
    both.on_epoch_begin(0)
    clock.now += 0.5  # later than the saver's interval, earlier than the guard's
    with pytest.raises(TrainingError):
        both.on_train_batch_end(0, {"loss": OnDevice(math.inf)})
    assert not (tmp_path / "c.npz").exists()


@pytest.mark.usefixtures("eager")
def test_keras_hands_values_on_as_they_are() -> None:
    kinds = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            kinds.append(type((logs or {})["loss"]))

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    x, y = np.zeros((4, 2)), np.zeros((4, 1))
    calls = StepCallbacks([Look()], add_history=True, model=model, epochs=1)
    history = model.fit(x, y, batch_size=2, verbose=0, callbacks=calls)
    assert len(kinds) == 2
    assert float not in kinds
    assert isinstance(history.history["loss"][0], float)


@pytest.mark.parametrize(
    ("losses", "told"),
    [([1.04] * 3, True), ([1.04] * 2, False), ([1.04, 1.04, 1.0], False), ([], False)],
)
def test_a_validation_that_never_changes_is_told(
    losses: list[float],
    told: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("flexseg"), "propagate", True)
    warn_of_standstill({"val_loss": losses} if losses else {"loss": [1.0] * 5})
    assert ("val_loss was 1.0400 after each of 3 epochs" in caplog.text) is told
