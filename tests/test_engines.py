"""Training and prediction under JAX and PyTorch without TensorFlow, and all three engines agree.

TensorFlow is what all other tests run on.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine_jobs import augmented_batch, check_course, ignored_losses, probabilities
from flexseg.config import load
from flexseg.models.package import ModelPackage
from support import CONFIG, run_script
from synthetic import write_dataset


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.float32]]:
    """A package that TensorFlow made, and what it says of two images."""
    folder = tmp_path_factory.mktemp("tensorflow")
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    package = ModelPackage.create(load(folder / "a.toml").experiment)
    package.save(folder / "w.h5", {})
    return folder / "w.h5", probabilities(package)


@pytest.fixture(scope="module", params=["jax", "torch"])
def folder(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    weights: tuple[Path, NDArray[np.float32]],
) -> Path:
    """Where an engine has done all its jobs: they share the process, which is slow to start."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "w.h5").write_bytes(weights[0].read_bytes())
    write_dataset(folder / "dataset", classes=3)
    config = CONFIG.replace("epochs = 12", "epochs = 1").replace("num_layers = 3", "num_layers = 2")
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "train.toml").write_text(config, encoding="utf-8")
    jobs = Path(__file__).with_name("engine_jobs.py")
    run_script(jobs, request.param, folder, absent=["tensorflow", "tf2onnx"])
    return folder


def test_train_evaluate_infer(folder: Path, request: pytest.FixtureRequest) -> None:
    assert len(list((folder / "predictions").glob("*.png"))) == 4
    assert json.loads((folder / "evaluation/summary.json").read_text())["cases"] == 4
    versions = json.loads((folder / "run.json").read_text())["versions"]
    assert versions["backend"] == request.node.callspec.params["folder"]


def test_engines_agree(folder: Path, weights: tuple[Path, NDArray[np.float32]]) -> None:
    """The same weights give the same probabilities to 1e-4 in float32."""
    assert np.abs(np.load(folder / "p.npy") - weights[1]).max() <= 1e-4


def test_engines_augment_alike(folder: Path) -> None:
    """All transforms at once, noise included, on the device."""
    expected, found = augmented_batch(), np.load(folder / "batch.npz")
    assert np.abs(expected["images"] - found["images"]).mean() < 0.05
    assert (expected["labels"] != found["labels"]).mean() < 0.002
    assert expected["images"].std() > 10


def test_engines_ignore_alike(folder: Path) -> None:
    """Losses and metrics of the pixels that count; where none does, a step moves nothing."""
    expected, found = ignored_losses(), np.load(folder / "ignored.npz")
    assert found["unmoved"] and expected["unmoved"]
    assert set(expected) == set(found.files)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def test_weights_are_averaged_and_rates_are_taken(folder: Path) -> None:
    check_course(np.load(folder / "course.npy"))
    epochs = json.loads((folder / "history.json").read_text())["lr"]
    assert len(epochs) >= 1 and max(epochs) <= 0.01


def test_jax_writes_into_the_memory_of_its_state(folder: Path) -> None:
    """Without that, weights and optimizer would be on the device twice."""
    if folder.name.startswith("jax"):
        assert np.load(folder / "reused.npy") == 1.0
