"""Folds that are trained at the same time, in processes of their own."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rich.console import Console

from flexseg.config import load
from flexseg.dataset.division.splits import Splits
from flexseg.errors import TrainingError
from flexseg.training.at_once import fold_processes
from flexseg.training.crossval import CrossValidation
from flexseg.training.trainer import Training

CONFIG = """
[model]
image_width = 48
image_height = 40
num_classes = 2
num_layers = 3
base_filters = 4
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
epochs = 2
batch_size = 4
epoch_change_infer = false
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[augmentation]
enabled = true
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A folder with a dataset and a config."""
    make_dataset({"train": 9, "valid": 3})
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def validation(project: Path, *, resume: bool = False) -> CrossValidation:
    overrides = (f"train.run_dir={project / 'a'}",)
    return CrossValidation(
        load(project / "a.toml", overrides), overrides, 2, Console(quiet=True),
        processes=2, resume=resume,
    )  # fmt: skip


def kill(fold: int, after: Path) -> None:
    """As the system does for want of memory, once a file is there."""
    until = time.monotonic() + 300
    while not after.exists() and time.monotonic() < until:
        time.sleep(0.01)
    (process,) = [p for p in multiprocessing.active_children() if p.name == f"fold {fold}"]
    process.kill()


def read_weights(file: Path) -> list[np.ndarray]:
    found: list[np.ndarray] = []

    def add(_: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            found.append(item[()])

    with h5py.File(file) as content:
        content.visititems(add)
    return found


@pytest.mark.usefixtures("compiled")
def test_a_killed_fold_is_told_and_continued_and_gives_what_it_gives_alone(
    project: Path,
) -> None:
    killer = threading.Thread(target=kill, args=(1, project / "a/fold_1/models/checkpoint.npz"))
    killer.start()
    with pytest.raises(TrainingError, match=r"fold_1: .*killed by signal 9.*--resume"):
        validation(project).train()
    killer.join()
    assert len(read_weights(project / "a/fold_0/models/best_model.h5")) > 10
    again = validation(project, resume=True)
    first, second = again.train()
    assert (first.folder.name, second.folder.name) == ("fold_0", "fold_1")
    fold = again.division.folds[1]
    alone = Training(
        load(project / "a.toml", [f"train.run_dir={project / 'alone'}"]), Console(quiet=True),
        Splits({"train": fold.train, "valid": fold.valid}),
    ).run()  # fmt: skip
    assert second.best_epoch == alone.best_epoch
    # Sums of floats depend on the number of threads.
    np.testing.assert_allclose(second.history["loss"], alone.history["loss"], rtol=1e-5)
    for a, b in zip(read_weights(second.weights), read_weights(alone.weights), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_a_fold_whose_process_does_not_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fold_processes, "_SECONDS_TO_END", 0.1)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    hanging = context.Process(target=time.sleep, args=(600,))
    hanging.start()
    there.send("result")
    job: Any = None
    fold = fold_processes._Process(job, hanging, here, slot=0)
    assert fold_processes._outcome_of(fold) == "result"
    assert hanging.exitcode not in (None, 0)
