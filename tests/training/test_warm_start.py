"""Trainings that begin with an earlier network."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from flexseg.config import load
from flexseg.dataset.acquisition import Acquired, Acquisition
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import image_size
from flexseg.model_file.hdf5_weights import read_metadata, read_weights
from flexseg.model_file.model_description import read_seen
from flexseg.models.package import ModelPackage
from flexseg.runs.manifest import Manifest
from flexseg.training.trainer import Training, TrainingResult
from flexseg.training.warm_start import TABLE, sha256_of
from support import quick_training
from synthetic import write_dataset

CONFIG = """
[model]
model = "UNet"
image_width = 32
image_height = 32
num_classes = 1
num_layers = 2
base_filters = 2
learning_rate = 1e-8
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
epochs = 1
batch_size = 2
epoch_change_infer = false
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
name = "cell"
color = [0, 255, 0]
"""

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, a config, and a finished run of it."""
    folder = tmp_path_factory.mktemp("trained")
    write_dataset(folder / "dataset", {"train": 4, "valid": 2, "test": 2})
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    with quick_training():
        run(folder)
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def run(project: Path, *overrides: str, resume: bool = False) -> TrainingResult:
    loaded = load(project / "a.toml", overrides)
    return Training(loaded, Console(quiet=True)).run(resume=resume)


def second(project: Path, start: Path, *overrides: str, resume: bool = False) -> TrainingResult:
    """A run in another folder that starts from something."""
    sets = (f"train.start_from={start}", f"train.run_dir={project / 'second'}", *overrides)
    return run(project, *sets, resume=resume)


def test_what_was_taken_is_noted(project: Path) -> None:
    file = project / "run/models/best_model.h5"
    result = second(project, file, "model.num_classes=2")
    origin = Manifest.read(project / "second").origin
    assert origin is not None and origin.sha256 == sha256_of(file)
    assert Path(origin.file) == file and 0 < origin.taken <= origin.weights
    metadata = read_metadata(result.weights)
    assert metadata is not None
    assert metadata["info"]["start_from"]["sha256"] == origin.sha256
    with (project / "second" / TABLE).open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["how"] for row in rows] == ["taken"] * (len(rows) - 1) + ["sigmoid as softmax"]
    assert sum(int(row["taken"]) for row in rows) == origin.taken
    run(project, f"train.run_dir={project / 'second'}")
    assert not (project / "second" / TABLE).exists()
    assert Manifest.read(project / "second").origin is None


def test_it_has_seen_what_its_start_has_seen(project: Path) -> None:
    other = [f"train.images_dir={project}/dataset/test/images",
             f"train.masks_dir={project}/dataset/test/masks"]  # fmt: skip
    result = second(project, project / "run", *other)
    before, after = read_seen(project / "run/models/best_model.h5"), read_seen(result.weights)
    assert before.trained < after.trained
    sizes = {image_size(path) for path in (project / "dataset/test/images").iterdir()}
    acquired = Acquisition.of(Acquired(size) for size in sizes)
    assert ModelPackage.load(result.weights).acquisition == acquired is not None
    # A step of a rate of nearly 0 leaves the weights what they were.
    first = read_weights(project / "run/models/best_model.h5")
    for (_, ours), (_, theirs) in zip(read_weights(result.weights), first, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_resumed_training_goes_on_whatever_it_started_from(project: Path) -> None:
    seen = read_seen(second(project, project / "run").weights)
    (project / "run").rename(project / "gone")
    result = second(project, project / "run", "train.epochs=2", resume=True)
    assert len(result.history["loss"]) == 2
    origin = Manifest.read(project / "second").origin
    assert origin is not None and origin.file.endswith("run/models/best_model.h5")
    assert read_seen(result.weights) == seen


def test_what_is_no_network_is_refused(project: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(DataError, match=r"damaged\.h5"):
        second(project, damaged)
    with pytest.raises(ConfigError, match="U2Net"):
        second(project, project / "run", "model.model=U2Net", "model.base_filters=16")
    assert not (project / "second" / "run.json").exists()


def test_a_package_runs_no_code_that_the_config_does_not_name(project: Path) -> None:
    file = project / "run/models/best_model.h5"
    package = ModelPackage.load(file)
    foreign = project / "foreign.h5"
    model = package.config.model_copy(update={"model": "evil:build"})
    ModelPackage(model, package.labels, package.preprocessing, model=package.model).save(
        foreign, {}
    )
    with pytest.raises(DataError, match="not trusted yet"):
        second(project, foreign)
