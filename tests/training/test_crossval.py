"""Cross-validation: every case is scored once, by a network that has not seen it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from flexseg.cli import main
from flexseg.config import load
from flexseg.data.images import read_image
from flexseg.data.pairing import Case
from flexseg.errors import ConfigError, DataError, Interrupted
from flexseg.inference.ensemble import (
    EnsemblePredictor,
    is_ensemble,
    read_members,
    write_ensemble,
)
from flexseg.inference.run import make_predictor
from flexseg.training import crossval
from flexseg.training.crossval import CrossValidated, CrossValidation, make_folds
from flexseg.training.trainer import Run, Training

CONFIG = """
[model]
image_width = 48
image_height = 40
num_classes = 2
num_layers = 3
base_filters = 4
normalization = true
learning_rate = 0.01
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "cv"
epochs = 1
batch_size = 4
epoch_change_infer = false
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[test]
images_dir = "dataset/test/images"
masks_dir = "dataset/test/masks"
[eval]
bootstrap = 50
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""


def cases_of(groups: list[int]) -> list[Case]:
    return [Case(f"c{i}", Path("i"), Path("m"), f"g{g}") for i, g in enumerate(groups)]


class TestFolds:
    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=3, max_size=40),
        st.integers(2, 5),
        st.integers(0, 20),
    )
    def test_each_case_is_held_out_once_and_groups_stay_whole(
        self, drawn: list[tuple[int, bool]], count: int, seed: int
    ) -> None:
        cases = cases_of([g for g, _ in drawn])
        presence = np.array([[shown] for _, shown in drawn])
        try:
            parts = make_folds(cases, presence, count, seed)
        except DataError:
            # A single large group may be all that two folds leave for training.
            assert count == 2 or len({case.group for case in cases}) < count
            return
        held = [case.id for fold in parts for case in fold.held_out]
        assert sorted(held) == sorted(case.id for case in cases)
        for fold in parts:
            groups = [{c.group for c in part} for part in (fold.train, fold.valid, fold.held_out)]
            assert all(groups)
            assert len(set.union(*groups)) == sum(map(len, groups))

    def test_classes_are_in_every_fold(self) -> None:
        cases = cases_of(list(range(100)))
        rare = np.arange(100) % 10 == 0
        parts = make_folds(cases, rare[:, None], 5, 0)
        for fold in parts:
            assert sum(int(case.id[1:]) % 10 == 0 for case in fold.held_out) == 2

    def test_too_few(self) -> None:
        with pytest.raises(ConfigError, match="1 folds"):
            make_folds(cases_of([0, 1, 2]), np.ones((3, 1), bool), 1, 0)
        with pytest.raises(DataError, match=r"4 cases of 2 group\(s\)"):
            make_folds(cases_of([0, 0, 1, 1]), np.ones((4, 1), bool), 2, 0)
        with pytest.raises(DataError, match="cannot make 5 folds"):
            make_folds(cases_of([0, 1, 2]), np.ones((3, 1), bool), 5, 0)


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A folder with a dataset and a config."""
    make_dataset({"train": 9, "valid": 3, "test": 3})
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def cross_validate(project: Path, *overrides: str, resume: bool = False) -> CrossValidated:
    loaded = load(project / "a.toml", overrides)
    validation = CrossValidation(loaded, overrides, 2, Console(quiet=True))
    return validation.score(validation.train(resume=resume))


def ids_of(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [row["case"] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose cross-validation is done; do not write into it."""
    from synthetic import write_dataset

    folder = tmp_path_factory.mktemp("crossval")
    write_dataset(folder / "dataset", {"train": 9, "valid": 3, "test": 3})
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    cross_validate(folder)
    return folder


def test_every_case_is_scored_by_the_fold_that_has_not_seen_it(finished: Path) -> None:
    run = finished / "cv"
    parts = json.loads((run / "folds.json").read_text(encoding="utf-8"))
    scored = ids_of(run / "evaluation/cases.csv")
    assert len(scored) == len(set(scored)) == 12
    assert scored == [case for part in parts for case in part["held_out"]]
    assert not any(case.startswith("test") for case in scored)
    for k, part in enumerate(parts):
        data = json.loads((run / f"fold_{k}/run.json").read_text(encoding="utf-8"))["data"]
        assert data["train"]["ids"] == part["train"] and data["valid"]["ids"] == part["valid"]
        assert not set(part["held_out"]) & {*part["train"], *part["valid"]}


def test_pooled_scores_are_those_of_the_folds_networks(finished: Path) -> None:
    run = finished / "cv"
    part = json.loads((run / "folds.json").read_text(encoding="utf-8"))[1]
    target = f"train.run_dir={run / 'fold_1'}"
    predictor = make_predictor(load(finished / "a.toml", [target]))
    case = part["held_out"][0]
    image = read_image(finished / f"dataset/{case.split('_')[0]}/images/{case}.png")
    p = next(predictor.probabilities([(case, image)]))[2]
    with Image.open(run / f"evaluation/predictions/{case}.png") as stored:
        assert np.mean(np.asarray(stored) == predictor.labels(p)) > 0.999


def test_manifest_and_summary(finished: Path) -> None:
    run = finished / "cv"
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "finished" and manifest["crossval"]["folds"] == 2
    assert manifest["data"]["train"]["cases"] == 12 and manifest["seconds"] > 0
    summary = json.loads((run / "evaluation/summary.json").read_text(encoding="utf-8"))
    assert summary["cases"] == 12 and len(summary["crossval"]["folds"]) == 2
    assert any("Cross-validation" in note for note in summary["notes"])
    assert not list(run.glob("evaluation/*_bak"))


def test_ensemble_averages_its_members(finished: Path) -> None:
    file = finished / "cv/models/ensemble.json"
    assert is_ensemble(file) and len(read_members(file)) == 2
    names = json.loads(file.read_text(encoding="utf-8"))["members"]
    assert names == [f"../fold_{k}/models/best_model.h5" for k in range(2)]
    ensemble = make_predictor(load(finished / "a.toml", ["train.best_model_file=ensemble.json"]))
    assert isinstance(ensemble, EnsemblePredictor)
    single = [
        make_predictor(load(finished / "a.toml", [f"train.run_dir={finished / f'cv/fold_{k}'}"]))
        for k in range(2)
    ]
    batch = np.random.default_rng(0).uniform(0, 255, (2, 40, 48, 3)).astype(np.float32)
    p = ensemble.at_model_size(batch)
    a, b = (one.at_model_size(batch) for one in single)
    assert not np.allclose(a, b)
    np.testing.assert_allclose(p, (a + b) / 2, atol=1e-6)
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-5)


def test_ensemble_is_evaluated_and_infers_like_a_model(finished: Path, tmp_path: Path) -> None:
    for command in ("evaluate", "infer"):
        options = ["--set", "train.best_model_file=ensemble.json", "-o", str(tmp_path / command)]
        source = ["-i", str(finished / "dataset/test/images")] if command == "infer" else []
        with pytest.raises(SystemExit) as caught:
            main([command, str(finished / "a.toml"), *options, *source])
        assert not caught.value.code
    assert sorted(ids_of(tmp_path / "evaluate/cases.csv")) == [f"test_0{i}" for i in range(3)]
    assert len(list((tmp_path / "infer").glob("*.png"))) == 3


def test_interrupted_goes_on_where_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Training.run
    trained: list[str] = []

    def once_only(self: Training, *, resume: bool = False) -> Run:
        if len(trained) == 1:
            raise Interrupted("stopped", "go on")
        trained.append(self.folder.name)
        return train(self, resume=resume)

    with monkeypatch.context() as patch:
        patch.setattr(crossval.Training, "run", once_only)
        with pytest.raises(Interrupted):
            cross_validate(project)
    manifest = json.loads((project / "cv/run.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "interrupted"
    first = (project / "cv/fold_0/models/best_model.h5").read_bytes()
    result = cross_validate(project, resume=True)
    assert (project / "cv/fold_0/models/best_model.h5").read_bytes() == first
    assert result.summary["cases"] == 12
    manifest = json.loads((project / "cv/run.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "finished" and "error" not in manifest


def test_resuming_needs_the_same_folds(project: Path) -> None:
    with pytest.raises(DataError, match="no cross-validation to go on with"):
        cross_validate(project, resume=True)
    (project / "cv").mkdir(exist_ok=True)
    (project / "cv/folds.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match="have changed"):
        cross_validate(project, resume=True)


def test_earlier_results_move_aside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fold_0", "fold_7", "evaluation"):
        (project / "cv" / name).mkdir(parents=True)
        (project / "cv" / name / "mine.txt").write_text("kept", encoding="utf-8")

    def stop(self: Training, *, resume: bool = False) -> Run:
        assert not resume
        raise Interrupted("stopped", "go on")

    monkeypatch.setattr(crossval.Training, "run", stop)
    with pytest.raises(Interrupted):
        cross_validate(project)
    kept = sorted(path.parent.name.split("_2")[0] for path in project.glob("cv/*/mine.txt"))
    assert kept == ["evaluation", "fold_0", "fold_7"]


def test_same_names_in_two_folders(project: Path) -> None:
    for kind in ("images", "masks"):
        folder = project / f"dataset/valid/{kind}"
        (folder / "valid_00.png").rename(folder / "train_00.png")
    with pytest.raises(DataError, match=r"same name: train_00"):
        cross_validate(project)


def test_one_output_folder_for_all_folds(project: Path) -> None:
    with pytest.raises(ConfigError, match="that of all folds"):
        cross_validate(project, f"train.model_dir={project / 'models'}")


class TestEnsembleFile:
    def test_members_move_with_their_file(self, tmp_path: Path) -> None:
        member = tmp_path / "a/fold_0/best.h5"
        member.parent.mkdir(parents=True)
        member.touch()
        write_ensemble(tmp_path / "a/models/ensemble.json", [member])
        (tmp_path / "a").rename(tmp_path / "b")
        found = read_members(tmp_path / "b/models/ensemble.json")
        assert [path.resolve() for path in found] == [tmp_path.resolve() / "b/fold_0/best.h5"]

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("{", "cannot be read"),
            ("[]", "no list"),
            ('{"members": []}', "no list"),
            ('{"members": [3]}', "no list"),
            ('{"members": ["a.h5", "b.h5"]}', "2 of 2 members are missing"),
        ],
    )
    def test_damaged(self, tmp_path: Path, text: str, what: str) -> None:
        path = tmp_path / "ensemble.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=what):
            read_members(path)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="flexseg crossval"):
            read_members(tmp_path / "ensemble.json")

    def test_members_of_other_tasks(self, finished: Path) -> None:
        loaded = load(finished / "a.toml", [f"train.run_dir={finished / 'cv/fold_0'}"])
        package = make_predictor(loaded).package
        from dataclasses import replace

        with pytest.raises(DataError, match="differs from the first in: threshold"):
            EnsemblePredictor([package, replace(package, threshold=0.3)])
