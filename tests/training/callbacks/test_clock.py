"""Trainings that end by the clock, schedules and averaged weights within a training."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from engine_jobs import check_course, course_of_weights
from flexseg.config import load
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.training.callbacks import clock as clock_module
from flexseg.training.callbacks.clock import Clock, TimeLimit
from flexseg.training.callbacks.schedule import LearningRate
from flexseg.training.checkpoint import read_progress
from flexseg.training.trainer import Training, TrainingResult

CONFIG = """
[model]
model = "UNet"
image_width = 32
image_height = 32
num_classes = 2
num_layers = 2
base_filters = 4
normalization = true
learning_rate = 0.01
loss = "dice_ce_loss"
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
batch_size = 2
epoch_change_infer = false
patience = 0
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""


@pytest.fixture
def config(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A config of a tiny dataset."""
    make_dataset()
    path = tmp_path / "a.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def train(
    config: Path, *overrides: str, resume: bool = False, started: float | None = None
) -> TrainingResult:
    """Train with overrides."""
    training = Training(load(config, overrides), Console(quiet=True), started=started)
    return training.run(resume=resume)


class Time:
    """A clock that tests move; it stands in for the module `time`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: self.now))

    def epochs(self, limit: TimeLimit, steps: int, step: float, tail: float) -> Iterator[float]:
        """Run epochs until the limit stops them; yields the time at the end of each."""
        limit.set_model(SimpleNamespace(stop_training=False))  # type: ignore[arg-type]
        for epoch in range(1000):
            limit.on_epoch_begin(epoch)
            for batch in range(steps):
                self.now += step
                limit.on_train_batch_end(batch)
                if limit.model.stop_training:
                    break
            self.now += tail
            limit.on_epoch_end(epoch)
            yield self.now
            if limit.model.stop_training:
                return


@pytest.mark.parametrize(("steps", "step", "tail"), [(10, 1.0, 5.0), (1000, 0.1, 8.0), (3, 0.5, 1)])
def test_ends_in_time_with_the_last_validation(
    monkeypatch: pytest.MonkeyPatch, steps: int, step: float, tail: float
) -> None:
    moving = Time(monkeypatch)
    limit = TimeLimit(Clock(300, 0.0), validation_batches=8)
    ends = list(moving.epochs(limit, steps, step, tail))
    assert 285 <= ends[-1] <= 302
    assert limit.minutes == 5


def test_the_share_is_that_of_the_time_without_the_last_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moving = Time(monkeypatch)
    limit = TimeLimit(Clock(100, 0.0, before=30.0), validation_batches=0)
    limit.reserve = 20.0
    moving.now = 10.0
    assert limit.share() == pytest.approx(0.5)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes 0.2 s, so that no machine is fast or slow."""
    ticks = itertools.count()
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: 0.2 * next(ticks)))


@pytest.mark.usefixtures("looks")
def test_a_training_stops_at_its_minutes_and_counts_them_as_done(config: Path) -> None:
    keys = ("train.schedule=cosine", "train.epoch_steps=10")
    result = train(config, "train.minutes=0.5", *keys, started=0.0)
    rates = result.history["lr"]
    assert rates[-1] < 0.1 * 0.01
    assert 2 <= len(rates) < 10
    used = _manifest(config)["seconds"]
    assert 0.95 * 30 < used < 1.05 * 30
    again = train(config, "train.minutes=0.5", *keys, resume=True)
    assert again.history == result.history
    assert _manifest(config)["seconds"] == used
    more = train(config, "train.minutes=1", *keys, resume=True, started=0.0)
    assert len(more.history["lr"]) > len(rates)


@pytest.mark.usefixtures("looks")
def test_the_time_before_the_training_counts_also_after_an_interruption(config: Path) -> None:
    (config.parent / "run").mkdir()
    stop = config.parent / "run" / "break_training"
    stop.touch()
    # The clock of the tests begins at 0: 12 s have gone when it does.
    train(config, "train.minutes=1", started=-12.0)
    stop.unlink()
    known = read_progress(config.parent / "run/models/checkpoint.npz")
    assert known.seconds > 12


def test_without_time_for_a_step_there_is_one_and_a_warning(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = train(config, "train.minutes=0.5", started=time.monotonic() - 29)
    assert len(result.history["loss"]) == 1
    assert "give the training more time" in caplog.text


def test_a_run_that_was_interrupted_in_its_last_validation_is_finished(config: Path) -> None:
    result = train(config, "train.epochs=2")
    manifest = config.parent / "run/run.json"
    content = _manifest(config)
    manifest.write_text(json.dumps(content | {"status": "interrupted"}), encoding="utf-8")
    again = train(config, "train.epochs=2", resume=True)
    assert again.best_loss == result.best_loss
    assert _manifest(config) == content


def test_after_its_warm_up_a_constant_rate_is_left_to_the_reducer() -> None:
    optimizer = SimpleNamespace(learning_rate=1.0)
    shares = iter([0.0, 0.1, 0.2, 0.5])
    rate = LearningRate(1.0, lambda share: min(1.0, 0.5 + 4 * share), lambda _: next(shares), 0.125)
    rate.set_model(SimpleNamespace(optimizer=optimizer))  # type: ignore[arg-type]
    rate.on_train_begin()
    seen = []
    for batch in range(3):
        rate.on_train_batch_begin(batch)
        seen.append(optimizer.learning_rate)
    assert seen == pytest.approx([0.5, 0.9, 1.0])
    optimizer.learning_rate = 0.3
    rate.on_train_begin()
    rate.on_train_batch_begin(3)
    assert optimizer.learning_rate == 0.3


def _manifest(config: Path) -> dict[str, Any]:
    text = (config.parent / "run/run.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def test_a_schedule_by_epochs_ends_at_zero_and_the_reducer_rests(config: Path) -> None:
    result = train(config, "train.epochs=4", "train.schedule=polynomial", "train.warmup=0.25")
    rates = np.array(result.history["lr"]) / 0.01
    assert rates[0] < 1
    assert (np.diff(rates[1:]) < 0).all()
    assert rates[-1] < 0.5


def test_epochs_of_a_number_of_steps(config: Path) -> None:
    train(config, "train.epochs=3", "train.epoch_steps=2", "train.oversample=0.5")
    rows = (config.parent / "run/eval/times.csv").read_text().splitlines()[1:]
    assert [row.split(",")[-1] for row in rows] == ["2.0"] * 3


def test_averaged_weights_are_kept_and_resumed(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ("train.epochs=4", "train.deterministic=true", "train.ema=0.9")
    whole = _kept(train(config, *keys))
    assert any(
        not np.allclose(a, b) for a, b in zip(whole, _kept(train(config, *keys[:2])), strict=True)
    )
    # Ended after two epochs, and gone on with.
    (config.parent / "run" / "break_training").touch()
    train(config, *keys)
    (config.parent / "run" / "break_training").unlink()
    resumed = _kept(train(config, *keys, resume=True))
    assert all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))


def _kept(run: TrainingResult) -> list[np.ndarray]:
    return [array for _, array in read_weights(run.weights)]


def test_the_average_is_inside_while_validated_and_kept_and_the_rate_is_taken() -> None:
    check_course(course_of_weights())
