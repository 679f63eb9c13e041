"""Ensembles of any trained models, and what is known of what they have seen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from flexseg.config import load
from flexseg.dataset.division.config_splits import find_splits
from flexseg.errors import ConfigError, DataError
from flexseg.evaluation.trained_images import evaluate
from flexseg.inference.ensemble import seen_by
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import read_members
from flexseg.model_file.seen_images import image_digest
from flexseg.models.package import ModelPackage
from flexseg.models.weights import save_weights
from flexseg.runs.manifest import Manifest
from flexseg.runs.members import find_source, make_ensemble
from flexseg.runs.seen import trained_on
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
name = "disc"
color = [0, 255, 0]
"""
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, make_dataset: Callable[..., Path]) -> MakeRun:
    """Run folders as a training leaves them, with random weights."""
    make_dataset({"train": 5, "valid": 2, "test": 2}, size=(20, 24))
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")

    def make(name: str, *overrides: str, status: str = "finished") -> Path:
        run = tmp_path / name
        loaded = load(tmp_path / "a.toml", [f"train.run_dir={run}", *overrides])
        weights = loaded.experiment.train.model_dir / "best_model.h5"
        weights.parent.mkdir(parents=True)
        keras.utils.set_random_seed(len(name))
        ModelPackage.create(loaded.experiment).save(weights, {})
        manifest = Manifest.start(run, loaded)
        manifest.add_data(find_splits(loaded.experiment.data, only=("train", "valid")).cases, [])
        known = {"weights": str(weights)} if status == "finished" else {}
        manifest.write(status=status, **known)
        return run

    return make


def digests(folder: Path, split: str) -> set[bytes]:
    return {image_digest(file) for file in (folder / f"dataset/{split}/images").iterdir()}


def test_runs_become_one_package(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run(name) for name in ("a", "bb")]
    made = make_ensemble(runs, tmp_path / "both")
    assert made.file == tmp_path / "both/ensemble.json"
    assert [m.name for m in read_members(made.file)] == ["a.h5", "bb.h5"]
    assert not any(source.unknown for source in made.sources)
    seen = seen_by(made.file)
    assert seen.trained == digests(tmp_path, "train")
    assert seen.validated == digests(tmp_path, "valid")
    use = [f"train.model_dir={tmp_path / 'both'}", "train.best_model_file=ensemble.json"]
    loaded = load(tmp_path / "a.toml", use)
    batch = np.random.default_rng(0).uniform(0, 255, (2, 16, 24, 3)).astype(np.float32)
    single = [
        make_predictor(load(tmp_path / "a.toml", [f"train.run_dir={run}"])).at_model_size(batch)
        for run in runs
    ]
    together = make_predictor(loaded).at_model_size(batch)
    assert not np.allclose(*single)
    np.testing.assert_allclose(together, np.mean(single, axis=0), atol=1e-6)
    assert evaluate(loaded, tmp_path / "scores", tmp_path / "old.csv").cases == 2


def test_seen_cases_are_refused_under_any_name(make_run: MakeRun, tmp_path: Path) -> None:
    made = make_ensemble([make_run("a"), make_run("bb")], tmp_path / "both")
    for kind in ("images", "masks"):
        shutil.copy(
            tmp_path / f"dataset/train/{kind}/train_00.png",
            tmp_path / f"dataset/test/{kind}/new.png",
        )
    use = [f"train.model_dir={made.file.parent}", "train.best_model_file=ensemble.json"]
    for split, problem in (("test", r"1 of 3 .* new"), ("train", "of the train split")):
        loaded = load(tmp_path / "a.toml", [*use, f"model.evaluation={split}"])
        with pytest.raises(DataError, match=problem):
            evaluate(loaded, tmp_path / "scores", tmp_path / "old.csv")
    # No member was trained on the validation set: as of a single network it can be scored.
    loaded = load(tmp_path / "a.toml", [*use, "model.evaluation=valid"])
    assert evaluate(loaded, tmp_path / "scores", tmp_path / "old.csv").cases == 2


def test_validation_set_that_trained_another_member(make_run: MakeRun, tmp_path: Path) -> None:
    first = make_run("a")
    other = make_run(
        "bb",
        *(f"{s}.{k}_dir={tmp_path}/dataset/{t}/{k}" for s, t in (("train", "valid"), ("valid", "train"))
          for k in ("images", "masks")),
    )  # fmt: skip
    made = make_ensemble([first, other], tmp_path / "both")
    seen = seen_by(made.file)
    assert seen.trained == digests(tmp_path, "train") | digests(tmp_path, "valid")
    assert not seen.validated
    valid = find_splits(load(tmp_path / "a.toml").experiment.data, only=("valid",)).need("valid")
    assert trained_on(valid, made.file)


def test_weights_and_ensembles_are_members_too(make_run: MakeRun, tmp_path: Path) -> None:
    first, second, third = (make_run(name) for name in ("a", "bb", "ccc"))
    pair = make_ensemble([first, second], tmp_path / "pair").file
    weights = third / "models/best_model.h5"
    made = make_ensemble([pair, weights], tmp_path / "three")
    assert list(made.members) == ["ensemble_a", "ensemble_bb", "best_model"]
    assert seen_by(made.file) == seen_by(pair)
    # A copied member is known by the ensemble that it lies in.
    member = tmp_path / "pair/members/a.h5"
    assert find_source(member).seen == seen_by(pair)
    assert find_source(tmp_path / "pair").files == tuple(read_members(pair))


def test_new_members_replace_those_that_they_came_from(make_run: MakeRun, tmp_path: Path) -> None:
    """The output is the folder of an input: nothing is lost."""
    pair = make_ensemble([make_run("a"), make_run("bb")], tmp_path / "out").file
    made = make_ensemble([pair, make_run("ccc")], tmp_path / "out")
    assert len(read_members(made.file)) == 3
    assert len(list((tmp_path / "out").glob("members_*_bak/*.h5"))) == 2


def test_moved_runs_are_found(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("a").rename(tmp_path / "moved")
    (file,) = find_source(run).files
    assert file == run / "models/best_model.h5"
    assert find_source(run).seen.trained == digests(tmp_path, "train")


class TestUnknown:
    """What a member has seen may not be known, which is said."""

    def test_weights_alone(self, make_run: MakeRun, tmp_path: Path) -> None:
        (tmp_path / "alone").mkdir()
        weights = make_run("a").rename(tmp_path / "gone") / "models/best_model.h5"
        shutil.copy(weights, tmp_path / "alone/a.h5")
        made = make_ensemble([make_run("bb"), tmp_path / "alone/a.h5"], tmp_path / "both")
        assert ["run.json" in source.unknown for source in made.sources] == [False, True]
        # What validated one may have trained the other.
        assert seen_by(made.file).validated == frozenset()
        assert seen_by(made.file).all == digests(tmp_path, "train") | digests(tmp_path, "valid")

    def test_manifest_of_another_model(self, make_run: MakeRun) -> None:
        run = make_run("a")
        copied = run / "elsewhere.h5"
        shutil.copy(run / "models/best_model.h5", copied)
        assert not find_source(copied).seen.all

    def test_changed_and_missing_cases(self, make_run: MakeRun, tmp_path: Path) -> None:
        run = make_run("a")
        images = tmp_path / "dataset/train/images"
        shutil.copy(images / "train_01.png", images / "train_00.png")
        assert "train cases have changed" in find_source(run).unknown
        (images / "train_02.png").unlink()
        source = find_source(run)
        assert source.unknown == "1 of its 5 train cases is missing now"
        assert len(source.seen.trained) == 3
        shutil.rmtree(tmp_path / "dataset")
        assert "no longer where they were" in find_source(run).unknown

    def test_other_version(self, make_run: MakeRun) -> None:
        manifest = make_run("a") / "run.json"
        content = json.loads(manifest.read_text(encoding="utf-8"))
        content["config"]["train"]["of_tomorrow"] = 1
        manifest.write_text(json.dumps(content), encoding="utf-8")
        assert "another version" in find_source(manifest.parent).unknown


class TestRefused:
    """Nothing is written then."""

    @pytest.mark.parametrize(
        ("overrides", "what"),
        [
            (["model.image_width=32"], r"width 24 / 32"),
            (["model.num_classes=1"], r"classes background, disc / "),
            (
                ['mask.classes=[{"id": 1, "name": "disc", "color": [9, 9, 9]}]'],
                "how masks are read",
            ),
            (["infer.threshold=100"], "threshold 0.5 / 0.39"),
        ],
    )
    def test_other_tasks(
        self, make_run: MakeRun, tmp_path: Path, overrides: list[str], what: str
    ) -> None:
        with pytest.raises(DataError, match=what):
            make_ensemble([make_run("a"), make_run("bb", *overrides)], tmp_path / "both")
        assert not (tmp_path / "both").exists()

    def test_too_few_or_twice(self, make_run: MakeRun, tmp_path: Path) -> None:
        run = make_run("a")
        with pytest.raises(ConfigError, match="One model"):
            make_ensemble([run], tmp_path / "both")
        with pytest.raises(ConfigError, match="holds the same network"):
            make_ensemble([run, run / "models/best_model.h5"], tmp_path / "both")

    def test_no_models(self, make_run: MakeRun, tmp_path: Path) -> None:
        for name in ("nothing", "nothing.h5", "nothing.json"):
            with pytest.raises(ConfigError, match="no such file or folder"):
                find_source(tmp_path / name)
        (tmp_path / "empty").mkdir()
        with pytest.raises(ConfigError, match=r"no run\.json"):
            find_source(tmp_path / "empty")
        with pytest.raises(DataError, match="not finished"):
            find_source(make_run("a", status="interrupted"))
        (tmp_path / "a/models/best_model.h5").write_bytes(b"damaged")
        with pytest.raises(DataError, match="damaged"):
            find_source(tmp_path / "a/models/best_model.h5")
        (tmp_path / "a/run.json").write_text("[]", encoding="utf-8")
        with pytest.raises(DataError, match="manifest of the run cannot be read"):
            find_source(tmp_path / "a")

    def test_weights_of_the_originals(self, make_run: MakeRun, tmp_path: Path) -> None:
        package = ModelPackage.load(make_run("a") / "models/best_model.h5")
        save_weights(package.model, tmp_path / "old.h5")
        with pytest.raises(DataError, match="does not say of which network"):
            find_source(tmp_path / "old.h5")


def test_command(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "alone").mkdir()
    alone = tmp_path / "alone/b.h5"
    (make_run("bb") / "models/best_model.h5").rename(alone)
    assert flexseg("ensemble", make_run("a"), alone, "-o", tmp_path / "both") == 0
    said = capsys.readouterr()
    assert f"infer {tmp_path / 'both'} -i FOLDER" in said.out and "Ensemble of 2 models" in said.out
    assert "cannot refuse" in " ".join(said.err.split())
    assert flexseg("ensemble", alone, "-o", tmp_path / "one") == 2
    assert flexseg("train", tmp_path / "a.toml", "--set", "train.best_model_file=x.json") == 2
