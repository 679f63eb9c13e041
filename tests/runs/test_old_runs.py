"""Run folders of an earlier state of flexseg are resumed, evaluated, predicted with and reported.

They have no hashes of images in their packages, and were moved since they were trained.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from flexseg.model_file.model_description import read_seen
from flexseg.runs.manifest import Manifest
from support import flexseg

# Config, folder of its run, and how many cases it evaluates.
RUNS = {"one.toml": ("one_run", 3), "own.toml": ("own_run", 3), "three.config": (".", 3)}
FOLDS = ("--set", "train.run_dir=one_folds")


@pytest.fixture(autouse=True)
def inside(study: Path, monkeypatch: pytest.MonkeyPatch, eager: None) -> None:
    """Networks of these runs are too small to be worth a compilation."""
    monkeypatch.chdir(study)


def summary(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    content: dict[str, dict[str, dict[str, float]]] = json.loads(
        (folder / "evaluation/summary.json").read_text(encoding="utf-8")
    )
    return content


def table(folder: Path) -> list[list[str]]:
    with (folder / "evaluation/cases.csv").open(encoding="utf-8", newline="") as file:
        return [row[:5] for row in csv.reader(file)]


@pytest.mark.parametrize("config", RUNS)
def test_evaluated_with_the_figures_of_then(config: str, study: Path) -> None:
    run, cases = RUNS[config]
    before, rows = summary(study / run), table(study / run)
    assert flexseg("evaluate", config) == 0
    after = summary(study / run)
    assert before["cases"] == after["cases"] == cases and table(study / run) == rows
    assert set(before) <= set(after) and set(before["macro"]) <= set(after["macro"])
    for metric in ("dice", "iou", "precision", "recall"):
        then, now = (s["macro"][metric]["mean"] for s in (before, after))
        # Probabilities near the threshold may fall on its other side in another engine.
        assert now == pytest.approx(then, abs=0.01)


@pytest.mark.parametrize("config", RUNS)
def test_resumed_for_one_more_epoch(config: str, study: Path) -> None:
    folder = study / RUNS[config][0]
    before = Manifest.read(folder)
    history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    assert flexseg("train", config, "--resume") == 0  # it is finished
    assert Manifest.read(folder).epochs == 2
    assert flexseg("train", config, "--resume", "--set", "train.epochs=3") == 0
    manifest = Manifest.read(folder)
    assert (manifest.status, manifest.epochs, manifest.started) == ("finished", 3, before.started)
    assert manifest.data.keys() <= before.data.keys()
    assert all(manifest.data[s] == before.data[s] for s in manifest.data)
    longer = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    assert longer.keys() == history.keys()
    assert all(values[:2] == history[name] for name, values in longer.items())
    assert all(len(values) == 3 for values in longer.values())
    if manifest.best and manifest.best.epoch == 2:
        # A package that is written today knows its images.
        assert read_seen(manifest.model_file).trained


@pytest.mark.parametrize("config", RUNS)
def test_predicted_with_and_reported(
    config: str, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flexseg("infer", config, "--output", "predicted") == 0
    images = {"three.config": "three/test/images"}.get(config, "one/all/images")
    assert {p.stem for p in (study / "predicted").glob("*.png")} == {
        p.stem for p in (study / images).iterdir()
    }
    assert flexseg("report", config, "--no-audit") == 0
    capsys.readouterr()
    folder = study / RUNS[config][0]
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["training"]["epochs"] == 2
    assert report["evaluation"]["cases"] == RUNS[config][1]


def test_compared_and_listed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("compare", "one_run", "own_run", "--json") == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["cases"] == 3
    assert flexseg("runs", ".", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    names = {"study", "one_run", "own_run", "one_folds", "one_folds/fold_0", "one_folds/fold_1"}
    assert rows.keys() == names
    for name, row in rows.items():
        assert row["status"] == "finished" and row["problem"] is None and row["seconds"] > 0
        if "folds" not in name:
            folder = study if name == "study" else study / name
            assert row["dice"] == summary(folder)["macro"]["dice"]["mean"]
            assert row["epochs"] == 2 and row["val_loss"] is not None


class TestCrossValidation:
    def test_resumed(self, study: Path) -> None:
        before = summary(study / "one_folds")
        assert flexseg("crossval", "one.toml", "--folds", "2", *FOLDS, "--resume") == 0
        after = summary(study / "one_folds")
        then, now = (s["macro"]["dice"]["mean"] for s in (before, after))
        assert now == pytest.approx(then, abs=0.01)
        assert Manifest.read(study / "one_folds").status == "finished"

    def test_its_ensemble_predicts_and_refuses_what_it_has_seen(
        self, study: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ensemble = ("--set", "train.best_model_file=ensemble.json")
        assert flexseg("infer", "one.toml", *FOLDS, *ensemble, "--output", "predicted") == 0
        assert flexseg("evaluate", "one.toml", *FOLDS, *ensemble) == 0
        seen = ("--set", "test.images_dir=one/all/images", "--set", "test.masks_dir=one/all/masks")
        separate = ("--set", "dataset.images_dir=none", "--set", "dataset.masks_dir=none")
        capsys.readouterr()
        assert flexseg("evaluate", "one.toml", *FOLDS, *ensemble, *separate, *seen) == 3
        assert "11 of 14 test cases were seen" in " ".join(capsys.readouterr().err.split())

    def test_runs_become_an_ensemble(self, study: Path) -> None:
        assert flexseg("ensemble", "one_run", "one_folds/fold_0", "-o", "both") == 0
        assert (study / "both/ensemble.json").is_file()
