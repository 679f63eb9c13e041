"""Cross-validation: every case is scored once, by a network that has not seen it."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from flexseg import outputs
from flexseg.cli import main
from flexseg.config import load
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError, Interrupted, ResourceError
from flexseg.evaluation.review.reviewed_cases import read_review
from flexseg.evaluation.trained_images import evaluate
from flexseg.files.images import read_image, write_png
from flexseg.inference.ensemble import EnsemblePredictor, seen_by, write_ensemble
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import is_ensemble, read_members
from flexseg.model_file.seen_images import SeenImages
from flexseg.report.content import gather
from flexseg.report.sources import find_source
from flexseg.runs.folds import divide, write_folds
from flexseg.training import crossval
from flexseg.training.crossval import CrossValidated, CrossValidation
from flexseg.training.needs import disk_needs_of
from flexseg.training.trainer import Training, TrainingResult
from support import flexseg, quick_training

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
pytestmark = pytest.mark.usefixtures("eager")
ENSEMBLE = "train.best_model_file=ensemble.json"


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A folder with a dataset and a config."""
    make_dataset({"train": 9, "valid": 3, "test": 3})
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def cross_validate(project: Path, *overrides: str, resume: bool = False) -> CrossValidated:
    loaded = load(project / "a.toml", overrides)
    validation = CrossValidation(loaded, overrides, 2, Console(quiet=True), resume=resume)
    return validation.score(validation.train())


def ids_of(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return [row["case"] for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose cross-validation is done; do not write into it."""
    from synthetic import write_dataset

    folder = tmp_path_factory.mktemp("crossval")
    write_dataset(folder / "dataset", {"train": 9, "valid": 3, "test": 3})
    for kind in ("images", "masks"):  # a mirrored copy in each direction, whatever the folds are
        for source, copy in ((1, 0), (2, 1), (3, 2)):
            with Image.open(folder / f"dataset/train/{kind}/train_0{source}.png") as image:
                mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            mirrored.save(folder / f"dataset/valid/{kind}/valid_0{copy}.png")
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    tracked = ["--set", "train.mlflow=local"] if importlib.util.find_spec("mlflow") else []
    said = io.StringIO()
    with contextlib.redirect_stdout(said), quick_training():
        assert flexseg("crossval", folder / "a.toml", "--folds", "2", *tracked) == 0
    assert str(folder / "cv/report.html") in said.getvalue()
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


def test_the_ensemble_knows_its_quality_from_the_cases_that_members_have_not_seen(
    finished: Path, tmp_path: Path
) -> None:
    predictor = make_predictor(load(finished / "a.toml", [ENSEMBLE]))
    known = predictor.trust.quality[2][1]
    assert known.cases + known.absent == 12 and not predictor.trust.members
    assert predictor.trust.temperature != 1
    folder = shutil.copytree(finished, tmp_path / "again")
    choice = folder / "cv/models/ensemble.postprocess.json"
    content = json.loads(choice.read_text(encoding="utf-8"))
    assert content["evidence"] == {"split": "folds", "cases": 12, "groups": 12}
    content["trust"]["temperature"] = 3.0
    choice.write_text(json.dumps(content), encoding="utf-8")
    cross_validate(folder, resume=True)
    assert json.loads(choice.read_text(encoding="utf-8")) == content, "a choice that is there stays"


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
    assert names == ["members/fold_0.h5", "members/fold_1.h5"]
    ensemble = make_predictor(load(finished / "a.toml", [ENSEMBLE]))
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
        options = ["--set", ENSEMBLE, "-o", str(tmp_path / command)]
        source = ["-i", str(finished / "dataset/test/images")] if command == "infer" else []
        with pytest.raises(SystemExit) as caught:
            main([command, str(finished / "a.toml"), *options, *source])
        assert not caught.value.code
    assert sorted(ids_of(tmp_path / "evaluate/cases.csv")) == [f"test_0{i}" for i in range(3)]
    assert len(list((tmp_path / "infer").glob("*.png"))) == 3


def test_ensemble_is_handed_on_as_one_folder(finished: Path, tmp_path: Path) -> None:
    """Without the folds and the run's folder."""
    shutil.copytree(finished / "cv/models", tmp_path / "handed/models")
    moved = load(finished / "a.toml", [ENSEMBLE, f"train.model_dir={tmp_path / 'handed/models'}"])
    assert all(tmp_path in member.parents for member in read_members(moved_file(tmp_path)))
    batch = np.random.default_rng(0).uniform(0, 255, (2, 40, 48, 3)).astype(np.float32)
    a, b = (
        make_predictor(loaded).at_model_size(batch)
        for loaded in (moved, load(finished / "a.toml", [ENSEMBLE]))
    )
    np.testing.assert_array_equal(a, b)


def moved_file(folder: Path) -> Path:
    return folder / "handed/models/ensemble.json"


def test_report_shows_cases_of_all_folders(finished: Path) -> None:
    report = json.loads((finished / "cv/report.json").read_text(encoding="utf-8"))
    assert [m["what"] for m in report["missing"]] == ["curves of the trainings"]
    assert report["audited"] and report["evaluation"]["out_of_fold"]
    files = find_source(finished / "cv").case_files()
    assert len(files) == 12
    for name, found in files.items():
        folder = finished / "dataset" / name.split("_")[0]
        assert found.image == folder / f"images/{name}.png"
        assert found.mask == folder / f"masks/{name}.png"


def test_annotations_are_reviewed_as_the_command_does_it(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["review", str(finished / "cv"), "--output", str(tmp_path / "again")])
    assert "of 12 annotations" in capsys.readouterr().out
    first, again = (read_review(folder) for folder in (finished / "cv/review", tmp_path / "again"))
    assert first is not None and again is not None and len(first) == 12
    assert not any(row.seen_in_training for row in first)
    scores = {row.case: row.score for row in first}
    assert {row.case: row.score for row in again} == pytest.approx(scores, abs=0.02)


def test_report_counts_every_case_once(finished: Path) -> None:
    report = json.loads((finished / "cv/report.json").read_text(encoding="utf-8"))
    (part,) = report["data"]
    assert (part["split"], part["cases"], part["sizes"]) == ("all folds", 12, "48 x 40")
    (said,) = (c["points"] for c in report["card"] if c["title"] == "Trained on")
    assert said[0] == "12 cases of 12 groups for all folds."
    of_splits = {"splits": [{"split": s, "cases": n} for s, n in (("train", 9), ("valid", 3))]}
    for audit in (None, of_splits):
        assert [d.cases for d in gather(find_source(finished / "cv"), audit).data] == [12]


def test_copies_across_folds_are_findings_of_the_run(finished: Path) -> None:
    run = finished / "cv"
    parts = json.loads((run / "folds.json").read_text(encoding="utf-8"))
    fold_of = {case: k for k, part in enumerate(parts) for case in part["held_out"]}
    copies = [(f"train_0{i + 1}", f"valid_0{i}") for i in range(3)]
    across = {f"fold {fold_of[a]} {a}" for a, b in copies if fold_of[a] != fold_of[b]}
    assert across  # else the dataset above needs other copies
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    found = [f for f in manifest["findings"] if f["code"] == "near-duplicates-across-splits"]
    assert manifest["audited"] and {i for f in found for i in f["items"] for a in across if a in i}
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert [f for f in report["findings"] if f["code"] == "near-duplicates-across-splits"] == found


def test_scores_and_folds_are_in_mlflow(finished: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{finished / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    by_name = {run.info.run_name: run for run in runs}
    assert sorted(by_name) == ["cv", "cv/fold_0", "cv/fold_1"]
    whole = by_name["cv"]
    summary = json.loads((finished / "cv/evaluation/summary.json").read_text(encoding="utf-8"))
    assert whole.data.metrics["evaluation.dice.macro"] == summary["macro"]["dice"]["mean"]
    assert whole.data.params["crossval.folds"] == "2" and whole.info.status == "FINISHED"
    for k in range(2):
        parent = by_name[f"cv/fold_{k}"].data.tags["mlflow.parentRunId"]
        assert parent == whole.info.run_id


def test_room_for_all_folds_is_asked_for_at_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = load(project / "a.toml").experiment
    one = disk_needs_of(e.model, e.train).peak
    monkeypatch.setattr(outputs, "free_disk", lambda _: one + 1)
    with pytest.raises(ResourceError, match="fold_0"):
        cross_validate(project)
    assert not list((project / "run").glob("fold_*"))


class TestSeenCases:
    """The ensemble is not scored on what its members were trained on, wherever that lies."""

    def score(self, finished: Path, tmp_path: Path, *folders: str) -> None:
        given = [f"test.{k}_dir={f}" for k, f in zip(("images", "masks"), folders, strict=True)]
        loaded = load(finished / "a.toml", [ENSEMBLE, *given])
        evaluate(loaded, tmp_path / "scored", tmp_path / "evaluation.csv")

    def test_folder_of_the_folds(self, finished: Path, tmp_path: Path) -> None:
        folder = finished / "dataset/valid"
        with pytest.raises(DataError, match="3 of 3 test cases were seen"):
            self.score(finished, tmp_path, str(folder / "images"), str(folder / "masks"))

    def test_copies_under_other_names(self, finished: Path, tmp_path: Path) -> None:
        for kind in ("images", "masks"):
            shutil.copytree(finished / f"dataset/test/{kind}", tmp_path / kind)
            shutil.copy(finished / f"dataset/train/{kind}/train_04.png", tmp_path / kind / "x.png")
        with pytest.raises(DataError, match=r"1 of 4 test cases .* e\.g\. x"):
            self.score(finished, tmp_path, str(tmp_path / "images"), str(tmp_path / "masks"))

    def test_equal_names_of_other_images(
        self,
        finished: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Folders may count from 1 each; without hashes the names are all that is known."""
        monkeypatch.setattr(logging.getLogger("flexseg"), "propagate", True)
        for kind in ("images", "masks"):
            shutil.copytree(finished / f"dataset/test/{kind}", tmp_path / kind)
            (tmp_path / kind / "test_00.png").rename(tmp_path / kind / "train_00.png")
        folders = str(tmp_path / "images"), str(tmp_path / "masks")
        self.score(finished, tmp_path, *folders)
        assert "Test cases have the names of cases" in caplog.text
        monkeypatch.setattr("flexseg.runs.seen.seen_by", lambda _: SeenImages())
        with pytest.raises(DataError, match=r"1 of 3 test cases .* e\.g\. train_00"):
            self.score(finished, tmp_path, *folders)


def test_interrupted_goes_on_where_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Training.run
    trained: list[str] = []

    def once_only(self: Training, *, resume: bool = False) -> TrainingResult:
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
    assert result.summary.cases == 12
    manifest = json.loads((project / "cv/run.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "finished" and "error" not in manifest


def test_resuming_needs_the_same_folds(project: Path) -> None:
    with pytest.raises(DataError, match="no cross-validation to continue"):
        cross_validate(project, resume=True)
    (project / "cv").mkdir(exist_ok=True)
    (project / "cv/folds.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="hold out 0 cases, but now there are 12"):
        cross_validate(project, resume=True)
    experiment = load(project / "a.toml").experiment
    labels = LabelMap.from_config(experiment.class_sections)
    write_folds(project / "cv", divide(experiment.data, labels, 3).ids())
    with pytest.raises(ConfigError, match="has 3 folds, not 2"):
        cross_validate(project, resume=True)
    write_folds(project / "cv", divide(experiment.data, labels, 2).ids())
    (project / "cv/run.json").write_text(
        json.dumps({"seed": 4, "status": "interrupted", "config": {}}), encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="with the seed 4, not"):
        cross_validate(project, resume=True)


def test_resuming_takes_the_folds_that_were_noted(project: Path) -> None:
    """Another version might divide otherwise, but networks know the cases of theirs."""
    loaded = load(project / "a.toml")
    labels = LabelMap.from_config(loaded.experiment.class_sections)
    noted = divide(loaded.experiment.data, labels, 2).ids()[::-1]
    (project / "cv").mkdir()
    write_folds(project / "cv", noted)
    validation = CrossValidation(loaded, (), 2, Console(quiet=True), resume=True)
    assert validation.division.ids() == noted


def test_earlier_results_move_aside(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a cross-validation, and of a training in the same folder."""
    folders = ("fold_0", "fold_7", "evaluation", "models", "eval", "epoch_change_infer")
    files = ("history.json", "mlflow.json", "evaluation.csv", "report.html", "run.json")
    for name in folders:
        (project / "cv" / name).mkdir(parents=True)
        (project / "cv" / name / "mine.txt").write_text("kept", encoding="utf-8")
    for name in (*files, "notes.txt"):
        (project / "cv" / name).write_text("kept", encoding="utf-8")

    def stop(self: Training, *, resume: bool = False) -> TrainingResult:
        assert not resume
        raise Interrupted("stopped", "go on")

    monkeypatch.setattr(crossval.Training, "run", stop)
    with pytest.raises(Interrupted):
        cross_validate(project)
    kept = sorted(path.parent.name.split("_2")[0] for path in project.glob("cv/*_bak/mine.txt"))
    assert kept == sorted(folders)
    aside = [path for path in project.glob("cv/*_bak") if path.is_file()]
    assert sorted(path.name.split("_2")[0] for path in aside) == sorted(files)
    assert {path.read_text(encoding="utf-8") for path in aside} == {"kept"}
    left = {path.name for path in (project / "cv").iterdir()} - {path.name for path in aside}
    assert {name for name in left if not name.endswith("_bak")} == {
        "folds.json",
        "notes.txt",
        "run.json",
    }


def test_same_names_in_two_folders(project: Path) -> None:
    for kind in ("images", "masks"):
        folder = project / f"dataset/valid/{kind}"
        (folder / "valid_00.png").rename(folder / "train_00.png")
    with pytest.raises(DataError, match=r"name of another one: train_00"):
        cross_validate(project)


def test_one_output_folder_for_all_folds(project: Path) -> None:
    with pytest.raises(ConfigError, match="shared by all folds"):
        cross_validate(project, f"train.model_dir={project / 'models'}")


def test_folds_do_not_write_their_weights_over_the_ensemble(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"ensemble\.json names an ensemble"):
        cross_validate(project, ENSEMBLE)


def write_hdf5(path: Path, content: str) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["content"] = content


def content_of(path: Path) -> str:
    with h5py.File(path) as file:
        return str(file.attrs["content"])


class TestEnsembleFile:
    def test_members_are_copied_and_earlier_ones_kept(self, tmp_path: Path) -> None:
        member, image = tmp_path / "fold_0/best.h5", tmp_path / "1.png"
        member.parent.mkdir()
        write_png(image, np.zeros((2, 2, 3), np.uint8))
        file = tmp_path / "models/ensemble.json"
        for content in ("first", "first", "second"):
            write_hdf5(member, content)
            write_ensemble(file, {"fold_0": member}, SeenImages.of([image, image]))
        member.unlink()
        (tmp_path / "models").rename(tmp_path / "moved")
        (found,) = read_members(tmp_path / "moved/ensemble.json")
        assert content_of(found) == "second"
        (aside,) = (tmp_path / "moved").glob("members_*_bak/fold_0.h5")
        assert content_of(aside) == "first"
        assert len(seen_by(tmp_path / "moved/ensemble.json").trained) == 1
        assert "1.png" not in (tmp_path / "moved/ensemble.json").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("{", "cannot be read"),
            ("[]", "not a list"),
            ('{"members": []}', "not a list"),
            ('{"members": [3]}', "not a list"),
            ('{"members": ["a.h5"], "seen_images": 3}', "not a list"),
            ('{"members": ["a.h5"], "seen_images": ["of no hash"]}', "not a list"),
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
        predictor = make_predictor(loaded)
        package = predictor.package
        from dataclasses import replace

        with pytest.raises(DataError, match="differs from the first in: threshold"):
            EnsemblePredictor(
                [package, replace(package, threshold=0.3)], engines=[predictor.engine] * 2
            )
