"""Cases that a model was trained on are no test of it, wherever model and cases lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexseg.dataset.cases import Case
from flexseg.errors import DataError
from flexseg.files.images import read_image, write_png
from flexseg.inference.ensemble import seen_by
from flexseg.model_file.model_description import read_seen
from flexseg.model_file.seen_images import SeenImages
from flexseg.outputs import write_json
from flexseg.runs.members import find_source, make_ensemble
from flexseg.runs.seen import refuse_changed_split
from support import flexseg

CONFIG = """
[model]
image_width = 24
image_height = 16
num_classes = 2
num_layers = 2
base_filters = 2
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
epochs = 1
precision = "float32"
epoch_change_infer = false
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
name = "disc"
color = [0, 255, 0]
"""


@pytest.fixture
def trained(tmp_path: Path, make_dataset: Callable[..., Path], eager: None) -> Path:
    """A folder with a dataset, a config, and its run; one training image is black."""
    make_dataset({"train": 5, "valid": 2, "test": 2}, size=(20, 24))
    black = tmp_path / "dataset/train/images/train_04.png"
    write_png(black, np.zeros_like(read_image(black)))
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    assert flexseg("train", tmp_path / "a.toml") == 0
    return tmp_path


@pytest.fixture
def elsewhere(trained: Path) -> Path:
    """Another project with a copy of the best model alone, and of the test cases."""
    folder = trained / "elsewhere"
    (folder / "run/models").mkdir(parents=True)
    shutil.copy(trained / "run/models/best_model.h5", folder / "run/models/best_model.h5")
    shutil.copy(trained / "a.toml", folder / "a.toml")
    shutil.copytree(trained / "dataset", folder / "dataset")
    return folder


def take(folder: Path, source: str, into: str, name: str) -> None:
    """Copy a case of another split into a split, under a new name."""
    for kind in ("images", "masks"):
        split = source.partition("_")[0]
        place = folder / f"dataset/{into}/{kind}" / f"{name}.png"
        shutil.copy(folder / f"dataset/{split}/{kind}/{source}.png", place)


def test_the_package_knows_its_images(trained: Path) -> None:
    images = [list((trained / f"dataset/{s}/images").iterdir()) for s in ("train", "valid")]
    assert read_seen(trained / "run/models/best_model.h5") == SeenImages.of(*images)


@pytest.mark.parametrize("source", ["train_00", "valid_01"])
def test_a_copied_model_refuses_copied_cases(
    elsewhere: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flexseg("evaluate", elsewhere / "a.toml") == 0
    take(elsewhere, source, "test", "a_new_name")
    assert flexseg("evaluate", elsewhere / "a.toml") == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "1 of 3 test cases was seen in the training of the model, e.g. a_new_name" in said
    assert "should not happen" not in said


def test_images_of_one_colour_are_equal_by_chance(elsewhere: Path) -> None:
    take(elsewhere, "train_04", "test", "black")
    assert flexseg("evaluate", elsewhere / "a.toml") == 0


def test_trained_validation_cases_are_told(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take(elsewhere, "train_01", "valid", "other")
    for command in (("evaluate", "--set", "model.evaluation=valid"), ("tune-postprocessing",)):
        name, *options = command
        assert flexseg(name, elsewhere / "a.toml", *options) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert "trained on 1 of the 3 validation cases (other)" in said
    # The training cases of a single network may be scored as what they are.
    assert flexseg("evaluate", elsewhere / "a.toml", "--set", "model.evaluation=train") == 0


def test_an_ensemble_knows_what_its_members_know(trained: Path) -> None:
    second = trained / "second"
    assert (
        flexseg(
            "train", trained / "a.toml", "--set", f"train.run_dir={second}", "--set", "train.seed=3"
        )
        == 0
    )
    alone = trained / "alone.h5"
    shutil.copy(second / "models/best_model.h5", alone)
    assert find_source(alone).seen == read_seen(alone) and not find_source(alone).unknown
    made = make_ensemble([trained / "run", alone], trained / "both")
    assert seen_by(made.file) == read_seen(alone)
    # The hashes are in the packages; the text names the members alone.
    assert "seen_images" not in made.file.read_text(encoding="utf-8")


def test_a_split_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    """One folder holds all cases, which another seed divides otherwise."""
    data = {"train": {"ids": ["a", "b"]}, "test": {"ids": ["c"]}}
    write_json(tmp_path / "run.json", {"status": "finished", "config": {}, "data": data})
    cases = [Case(name, tmp_path / name, tmp_path / name, name) for name in ("b", "c")]
    with pytest.raises(DataError, match=r"1 of 2 test cases was in the train set.*b"):
        refuse_changed_split(cases, "test", tmp_path)
    refuse_changed_split(cases[1:], "test", tmp_path)
    refuse_changed_split(cases, "test", tmp_path / "of_no_run")
