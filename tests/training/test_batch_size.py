"""Images per step found by itself, and a training that goes on when memory runs out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from flexseg import backend
from flexseg.config import load
from flexseg.errors import ConfigError, ResourceError
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.models.inspection import ModelFacts
from flexseg.training import batch_size
from flexseg.training.batch_size import BatchSize, choose, largest, most_useful, step_bytes
from flexseg.training.memory import out_of_memory
from flexseg.training.trainer import Training, TrainingResult

pytestmark = pytest.mark.usefixtures("eager")

CONFIG = """
[model]
image_width = 32
image_height = 32
num_classes = 2
num_layers = 2
base_filters = 4
learning_rate = 0.01
loss = "categorical_crossentropy"
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
epochs = 2
batch_size = "auto"
epoch_change_infer = false
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""
GIB = 2**30


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's."""


def facts(activation_bytes: int) -> ModelFacts:
    return ModelFacts((), 1000, 1000, 10**9, activation_bytes, "float32")


# --- the choice ---------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 8))
def test_the_largest_that_fits(limit: int, most: int, guess: int) -> None:
    asked = []

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= limit

    start = min(2**guess, batch_size.power_of_two(most))
    ladder = sorted({m * 2**k for k in range(10) for m in (1, 3)})
    expected = max((n for n in ladder if n <= min(limit, most)), default=0)
    assert largest(fits, start, most) == expected
    assert len(asked) == len(set(asked)) and max(asked) <= most


@pytest.mark.parametrize(
    ("cases", "drawn", "device", "most"),
    [
        (200, False, None, 8),
        (200, False, "GPU", 10),
        (5000, False, "GPU", 250),
        (6, False, "GPU", 2),
        (1, False, None, 1),
        (40, True, "GPU", 40),
        (40, True, None, 8),
    ],
)
def test_the_most_that_training_gains_from(
    cases: int, drawn: bool, device: str | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "accelerator", lambda: device)
    assert most_useful(cases, drawn=drawn)[0] == most


@pytest.mark.parametrize(
    ("free", "size", "reason"),
    [
        (64 * GIB, 8, "not faster on a CPU"),
        (4 * GIB, 4, "4.0 GiB lets no more fit"),
        (1 * GIB, 1, "1.0 GiB lets no more fit"),
        (GIB // 8, 1, "lets no more fit"),
        (None, 8, "not faster on a CPU"),
    ],
)
def test_a_cpu_is_estimated_and_never_tried(
    free: int | None, size: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "free_memory", lambda: free)
    found = choose(facts(2**27), 1000, drawn=False, fits=lambda _: pytest.fail("was tried"))
    assert (found.size, found.automatic) == (size, True)
    assert reason in found.reason
    if free is not None and size > 1:
        assert step_bytes(facts(2**27), size) <= free / 2


@pytest.mark.parametrize("known", [None, 2 * GIB, 80 * GIB])
def test_an_accelerator_is_tried(known: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "accelerator", lambda: "GPU")
    monkeypatch.setattr(batch_size, "free_memory", lambda: known)
    found = choose(facts(2**27), 5000, drawn=False, fits=lambda size: size <= 50)
    assert found.size == 48
    assert "trial steps" in found.reason


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (ResourceExhaustedError("OOM when allocating tensor"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (ValueError("shapes differ"), False),
        (ResourceError("The disk ran out of memory.", "Buy one."), False),
    ],
)
def test_errors_that_mean_too_little_memory(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) == expected


# --- trainings ----------------------------------------------------------------------------------


class Memory:
    """Makes training steps fail above `limit` images; knows the sizes of those that did not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limit = 10**6
        self.steps: list[int] = []
        self.tried: list[int] = []
        self.before_step: Callable[[int], None] = lambda done: None
        step, trial = keras.Model.train_step, keras.Model.train_on_batch

        def limited(model: keras.Model, *arguments: Any) -> Any:
            size = arguments[-1][1].shape[0]
            self.before_step(len(self.steps))
            if size > self.limit:
                # As a step that fails halfway may leave it.
                model.trainable_variables[0].assign(model.trainable_variables[0] * np.nan)
                raise ResourceExhaustedError("OOM when allocating tensor")
            self.steps.append(size)
            return step(model, *arguments)

        def counted(model: keras.Model, x: Any, *arguments: Any, **options: Any) -> Any:
            self.tried.append(len(x))
            return trial(model, x, *arguments, **options)

        monkeypatch.setattr(keras.Model, "train_step", limited)
        monkeypatch.setattr(keras.Model, "train_on_batch", counted)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """A device whose memory a test limits."""
    monkeypatch.setattr(batch_size, "LARGEST_SHARE", 1.0)
    return Memory(monkeypatch)


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A folder with a dataset of 8 training cases and a config."""
    make_dataset()
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def run(project: Path, *overrides: str, resume: bool = False) -> TrainingResult:
    return Training(load(project / "a.toml", overrides), Console(quiet=True)).run(resume=resume)


def noted(project: Path) -> dict[str, Any]:
    noted: dict[str, Any] = json.loads((project / "run.json").read_text())["batch_size"]
    return noted


def assert_same(a: TrainingResult, b: TrainingResult) -> None:
    """Equal but for the order in which threads add up."""
    assert a.history.keys() == b.history.keys()
    for key, values in a.history.items():
        assert values == pytest.approx(b.history[key], rel=1e-5)
    for (_, x), (_, y) in zip(read_weights(a.weights), read_weights(b.weights), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def test_automatic_size_on_a_cpu(project: Path, device: Memory) -> None:
    run(project)
    assert set(device.steps) == {8} and not device.tried
    assert noted(project)["size"] == 8 and noted(project)["automatic"]
    assert noted(project)["halved"] == []


def test_trial_steps_leave_no_trace(
    project: Path, device: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(project, "train.batch_size=6", f"train.run_dir={project / 'plain'}")
    monkeypatch.setattr(backend, "accelerator", lambda: "GPU")
    device.limit = 7
    found = run(project)
    assert device.tried == [8, 4, 6]
    assert noted(project)["size"] == 6
    assert_same(found, plain)


def test_memory_that_never_sufficed_equals_a_smaller_size(
    project: Path, device: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    plain = run(project, "train.batch_size=2", f"train.run_dir={project / 'plain'}")
    device.limit = 3
    with caplog.at_level(logging.WARNING):
        found = run(project)
    assert_same(found, plain)
    assert noted(project)["size"] == 2
    assert noted(project)["halved"] == [
        {"epoch": 0, "batch": 0, "from": 8, "to": 4},
        {"epoch": 0, "batch": 0, "from": 4, "to": 2},
    ]
    assert "batches of 4 from its last saved state" in caplog.text.replace("\n", " ")
    assert "learning rate stays" in caplog.text


def test_memory_that_runs_out_within_an_epoch_loses_nothing(
    project: Path, device: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "MOST_ON_CPU", 4)

    def less(done: int) -> None:
        if done == 3:  # epoch 2, after the first of its two batches of 4
            device.limit = 3

    device.before_step = less
    found = run(project, "train.checkpoint_minutes=1e-9")
    assert device.steps == [4, 4, 4, 2, 2]
    assert noted(project)["halved"] == [{"epoch": 1, "batch": 1, "from": 4, "to": 2}]
    assert len(found.history["loss"]) == 2
    assert np.isfinite(found.history["loss"]).all()
    assert found.history["lr"] == pytest.approx([0.01, 0.01])


def test_resume_keeps_the_size_that_was_found(project: Path, device: Memory) -> None:
    device.limit = 5
    run(project)
    device.limit = 10**6
    device.steps.clear()
    run(project, "train.epochs=3", resume=True)
    assert device.steps == [4, 4]
    assert noted(project)["size"] == 4
    assert [h["to"] for h in noted(project)["halved"]] == [4]
    with pytest.raises(ConfigError, match=r"train\.batch_size"):
        run(project, "train.epochs=4", "train.batch_size=8", resume=True)


@pytest.mark.parametrize(("setting", "size"), [("4", "batches of 4"), ("'auto'", "single images")])
def test_memory_for_no_step_is_an_error_that_helps(
    project: Path, device: Memory, setting: str, size: str
) -> None:
    device.limit = 0
    with pytest.raises(ResourceError, match=size) as caught:
        run(project, f"train.batch_size={setting}")
    assert "base_filters" in caught.value.fix
    assert ("'auto'" in caught.value.fix) == (setting == "4")
    assert json.loads((project / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize("value", ["0", "-2", "'large'", "1.5"])
def test_other_sizes_are_refused(project: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="batch_size"):
        load(project / "a.toml", [f"train.batch_size={value}"])


def test_halves_are_noted() -> None:
    size = BatchSize(12, "", automatic=True)
    size.halve(3, 5)
    assert size.as_dict()["halved"] == [{"epoch": 3, "batch": 5, "from": 12, "to": 6}]
