"""Training that was interrupted goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flexseg.model_file.hdf5_weights import read_weights
from flexseg.training.checkpoint import read_progress
from support import flexseg
from synthetic import write_dataset

CONFIG = """
[model]
image_width = 48
image_height = 40
num_classes = 2
num_layers = 2
base_filters = 4
learning_rate = 0.01
dropout_rate = 0.1
loss = "categorical_crossentropy"
metrics = ["dice_coef_multiclass"]
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
epochs = 3
batch_size = 1
epoch_change_infer = false
learning_rate_reducer = true
reducer_patience = 1
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def command(folder: Path, run_dir: str, *options: str) -> list[str]:
    config = str(folder / "a.toml")
    return ["train", config, "--set", f"train.run_dir={folder / run_dir}", *options]


def train(folder: Path, run_dir: str, *options: str) -> None:
    """In this process: only a training that is to be killed needs one of its own."""
    assert flexseg(*command(folder, run_dir, *options)) == 0


def interrupt(folder: Path, run_dir: str, number: int, override: str) -> int:
    """Start a training and send it a signal within its second epoch."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flexseg.cli", *command(folder, run_dir, "--set", override)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.lstrip().startswith("1/"):
            break
    checkpoint = folder / run_dir / "models/checkpoint.npz"
    while not checkpoint.exists():
        time.sleep(0.002)
    time.sleep(0.05)
    process.send_signal(number)
    process.stdout.read()
    return process.wait(timeout=60)


def final_state(folder: Path, run_dir: str) -> tuple[list[np.ndarray], dict[str, list[float]]]:
    """Last (not best) variables of model and optimizer, and the history."""
    with np.load(folder / run_dir / "models/checkpoint.npz") as archive:
        arrays = [archive[key] for key in sorted(archive.files) if key != "progress"]
    return arrays, json.loads((folder / run_dir / "history.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and a training on it that nothing interrupted, in `unbroken`."""
    folder = tmp_path_factory.mktemp("resume")
    write_dataset(folder / "dataset", {"train": 60, "valid": 2})
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    train(folder, "unbroken")
    return folder


@pytest.mark.parametrize(
    ("number", "code", "minutes"),
    [
        (signal.SIGKILL, -signal.SIGKILL, 10),
        (signal.SIGKILL, -signal.SIGKILL, 0.0001),
        (signal.SIGTERM, 130, 10),
        (signal.SIGINT, 130, 10),
    ],
    ids=["kill-9", "kill-9-mid-epoch-checkpoints", "SIGTERM", "SIGINT"],
)
def test_interrupted_equals_unbroken(
    folder: Path, number: int, code: int, minutes: float, request: pytest.FixtureRequest
) -> None:
    broken = request.node.callspec.id
    assert interrupt(folder, broken, number, f"train.checkpoint_minutes={minutes}") == code
    progress = read_progress(folder / broken / "models/checkpoint.npz")
    assert progress.epoch < 3
    if code == 130:
        manifest = json.loads((folder / broken / "run.json").read_text())
        assert manifest["status"] == "interrupted"
    train(folder, broken, "--resume")
    unbroken, history = final_state(folder, "unbroken")
    resumed, resumed_history = final_state(folder, broken)
    assert len(unbroken) == len(resumed) > 20
    assert all(np.array_equal(a, b) for a, b in zip(unbroken, resumed, strict=True))
    assert history.keys() == resumed_history.keys()
    for key, values in history.items():
        np.testing.assert_allclose(values, resumed_history[key], rtol=1e-6)
    best = [read_weights(folder / n / "models/best_model.h5") for n in ("unbroken", broken)]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(*best, strict=True))
