"""Snapshots at the ends of the learning rate's cycles, and their ensemble."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console

from flexseg.config import load
from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError
from flexseg.evaluation.trained_images import evaluate
from flexseg.inference.ensemble import EnsemblePredictor, seen_by
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import model_file, read_members
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.model_file.seen_images import SeenImages
from flexseg.models.build import build_model
from flexseg.runs.members import find_source
from flexseg.training.callbacks.guards import StopFile
from flexseg.training.callbacks.snapshots import Snapshots
from flexseg.training.compiling import compile_model
from flexseg.training.crossval import CrossValidation
from flexseg.training.trainer import Training, TrainingResult
from support import quick_training
from synthetic import write_dataset

pytestmark = pytest.mark.usefixtures("eager")
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
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
batch_size = 2
epochs = 3
ema = 0.5
patience = 1
schedule = "cosine"
snapshots = 3
epoch_change_infer = false
deterministic = true
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[test]
images_dir = "dataset/test/images"
masks_dir = "dataset/test/masks"
[eval]
bootstrap = 0
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""
SPLITS = {"train": 4, "valid": 2, "test": 2}


@pytest.fixture
def config(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A config of a tiny dataset."""
    make_dataset(SPLITS)
    path = tmp_path / "a.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def train(config: Path, *overrides: str, resume: bool = False) -> TrainingResult:
    return Training(load(config, overrides), Console(quiet=True)).run(resume=resume)


def weights(path: Path) -> list[np.ndarray]:
    return [array for _, array in read_weights(path)]


class Taken:
    """A training that only counts: what is saved, and at which share."""

    def __init__(self, folder: Path, cycles: int, begin: float = 0.0) -> None:
        self.share = begin
        self.saved: dict[str, float] = {}
        self.snapshots = Snapshots(
            folder, cycles, lambda batch: self.share, self.save, averaged=False
        )
        self.snapshots.set_model(object())
        self.snapshots.on_train_batch_begin(0)

    def save(self, path: Path, about: dict[str, Any]) -> None:
        self.saved[path.stem] = self.share

    def to(self, *shares: float) -> None:
        for share in shares:
            self.share = share
            self.snapshots.on_train_batch_end(0)


@given(
    cycles=st.integers(2, 5),
    steps=st.lists(st.floats(0.001, 0.15), min_size=1, max_size=60),
)
def test_each_end_of_a_cycle_is_taken_once_and_right_after_it(
    cycles: int, steps: list[float]
) -> None:
    course = np.minimum(np.cumsum(steps), 1.0).tolist()
    # Sums that miss an end by rounding alone may count as either.
    ends = [share * cycles for share in course if share < 1.0]
    assume(all(abs(end - round(end)) > 1e-9 for end in ends))
    taken = Taken(Path("unused"), cycles)
    taken.to(*course)
    expected = {
        f"snapshot_{k}": next(share for share in course if share * cycles >= k)
        for k in range(1, cycles + 1)
        if course[-1] * cycles >= k
    }
    # A step over several ends leaves the last of them.
    last_of = {share: name for name, share in expected.items()}
    assert taken.saved == {name: share for share, name in last_of.items()}


def test_an_interrupted_training_takes_what_is_still_to_come() -> None:
    taken = Taken(Path("unused"), 4, begin=0.6)
    taken.to(0.7, 0.76, 0.9)
    assert list(taken.saved) == ["snapshot_3"]


@pytest.mark.parametrize(("stopped", "names"), [(0.97, ["1", "2"]), (0.8, ["1"]), (0.4, [])])
def test_the_last_one_is_taken_where_the_clock_stops_just_before_the_end(
    stopped: float, names: list[str]
) -> None:
    taken = Taken(Path("unused"), 2)
    taken.to(*np.arange(0, stopped, 0.1), stopped)
    taken.snapshots.finish()
    taken.snapshots.finish()
    assert list(taken.saved) == [f"snapshot_{name}" for name in names]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a training that is done; do not write into its folder."""
    folder = tmp_path_factory.mktemp("snapshots")
    write_dataset(folder / "dataset", SPLITS)
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    with quick_training():
        run = train(folder / "a.toml")
    assert len(run.history["loss"]) == 3  # `patience` rests
    return folder / "a.toml"


def test_training_writes_an_ensemble_of_its_snapshots(finished: Path) -> None:
    run = finished.parent / "run"
    members = read_members(run / "models/ensemble.json")
    assert [member.name for member in members] == [f"snapshot_{k}.h5" for k in (1, 2, 3)]
    assert all(not np.allclose(weights(a)[0], weights(b)[0]) for a, b in pairwise(members))
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert Path(manifest["ensemble"]) == run / "models/ensemble.json"
    images = [list((finished.parent / f"dataset/{s}/images").iterdir()) for s in SPLITS]
    assert seen_by(run / "models/ensemble.json") == SeenImages.of(*images[:2])
    assert find_source(run).files == tuple(members)


def test_its_ensemble_is_used_unless_the_config_names_a_file(
    finished: Path, tmp_path: Path
) -> None:
    assert isinstance(make_predictor(load(finished)), EnsemblePredictor)
    for split in ("test", "valid"):
        loaded = load(finished, [f"model.evaluation={split}"])
        summary = evaluate(loaded, tmp_path / split, tmp_path / "old.csv").as_dict()
        assert summary["cases"] == 2 and summary["inference"]["members"] == 3
    single = load(finished, ["train.best_model_file=best_model.h5"])
    assert model_file(single).name == "best_model.h5"
    # Before the end of the training it is not there.
    assert model_file(load(finished, ["train.model_dir=elsewhere"])).name == "best_model.h5"


def test_resumed_training_has_the_same_snapshots(
    finished: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(logging.getLogger("flexseg"), "propagate", True)
    models = config.parent / "run/models"

    def stop(self: StopFile, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.stop_training = True

    with monkeypatch.context() as patch:
        patch.setattr(StopFile, "on_epoch_end", stop)
        train(config)
    assert "1 of 3 snapshots were taken: there is no ensemble" in caplog.text
    assert not (models / "ensemble.json").exists()
    first = (models / "snapshot_1.h5").stat().st_mtime_ns
    train(config, resume=True)
    assert (models / "snapshot_1.h5").stat().st_mtime_ns == first
    members = read_members(models / "ensemble.json")
    whole = read_members(finished.parent / "run/models/ensemble.json")
    for one, other in zip(members, whole, strict=True):
        pairs = zip(weights(one), weights(other), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_an_end_that_was_interrupted_is_made_good(finished: Path, tmp_path: Path) -> None:
    """All snapshots are there, but the process ended before it wrote their ensemble."""
    folder = shutil.copytree(finished.parent, tmp_path / "copy")
    (folder / "run/models/ensemble.json").rename(folder / "before.json")
    manifest = json.loads((folder / "run/run.json").read_text(encoding="utf-8"))
    del manifest["ensemble"]
    (folder / "run/run.json").write_text(json.dumps(manifest), encoding="utf-8")
    train(folder / "a.toml", resume=True)
    written = folder / "run/models/ensemble.json"
    assert json.loads(written.read_text()) == json.loads((folder / "before.json").read_text())
    manifest = json.loads((folder / "run/run.json").read_text(encoding="utf-8"))
    assert Path(manifest["ensemble"]) == written


def test_averaged_weights_are_saved_and_the_training_keeps_its_own(tmp_path: Path) -> None:
    own, saved = fit(tmp_path, cycles=2)
    assert len(saved) == 2
    for a, b, mean in zip(own[0], own[1], saved[0], strict=True):
        np.testing.assert_allclose(mean, 0.5 * a + 0.5 * b, rtol=1e-4, atol=1e-5)
    alone, nothing = fit(tmp_path, cycles=0)
    assert not nothing
    for step, other in zip(own, alone, strict=True):
        for a, b in zip(step, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def fit(folder: Path, cycles: int) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]]]:
    """Weights after each of four steps with a moving average, and those that were saved."""
    keys = {"model": "UNet", "image_width": 16, "image_height": 16, "num_layers": 2,
            "base_filters": 4, "num_classes": 2, "learning_rate": 0.1}  # fmt: skip
    experiment = Experiment.model_validate({"model": keys})
    keras.utils.set_random_seed(0)
    model = build_model(experiment.model)
    compile_model(model, experiment.model, ema=0.5)
    saved: list[list[np.ndarray]] = []
    own: list[list[np.ndarray]] = []

    def values() -> list[np.ndarray]:
        if hasattr(model, "jax_state_sync"):
            model.jax_state_sync()
        return [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]

    class Watch(keras.callbacks.Callback):
        """Keeps the weights after each step."""

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            own.append(values())

    snapshots = Snapshots(
        folder, cycles, lambda batch: batch / 4, lambda *_: saved.append(values()), averaged=True
    )
    x = np.random.default_rng(0).uniform(0, 255, (16, 16, 16, 3)).astype(np.float32)
    y = (x[..., 0] > 127).astype(np.uint8)
    callbacks = [*([snapshots] if cycles else []), Watch()]
    model.fit(x, y, batch_size=4, epochs=1, shuffle=False, verbose=0, callbacks=callbacks)
    return own, saved


def test_config_errors(config: Path) -> None:
    with pytest.raises(ConfigError, match="falls in cycles"):
        load(config, ["train.schedule=constant"])
    with pytest.raises(ConfigError, match="would itself be an ensemble of 3 snapshots"):
        CrossValidation(load(config), (), 2, Console(quiet=True))
