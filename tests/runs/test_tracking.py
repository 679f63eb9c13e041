"""MLflow gets what a run knows, and never stops a training."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from flexseg.config import load
from flexseg.runs import tracking
from flexseg.runs.manifest import Manifest
from flexseg.runs.tracking import Tracker
from flexseg.training.trainer import Training, TrainingResult

CONFIG = """
[model]
image_width = 48
image_height = 40
num_classes = 2
num_layers = 2
base_filters = 4
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
epochs = 2
batch_size = 4
epoch_change_infer = false
precision = "float32"
mlflow = "local"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings reach `caplog`, also after a command has taken over the logger."""
    monkeypatch.setattr(logging.getLogger("flexseg"), "propagate", True)


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A folder with a dataset and a config."""
    make_dataset()
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def train(project: Path, *overrides: str, resume: bool = False) -> TrainingResult:
    loaded = load(project / "a.toml", overrides)
    return Training(loaded, Console(quiet=True)).run(resume=resume)


def only_run(project: Path) -> tuple[Any, Any]:
    """A client of the project's store, and the one run in it."""
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    return client, run


def test_run_is_in_the_local_store(project: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    train(project)
    client, run = only_run(project)
    assert run.info.status == "FINISHED" and run.info.run_name == "run"
    assert run.data.params["model.base_filters"] == "4"
    assert run.data.params["data.train.cases"] == "8"
    assert "train.mlflow" not in run.data.params
    history = json.loads((project / "run/history.json").read_text(encoding="utf-8"))
    logged = client.get_metric_history(run.info.run_id, "val_loss")
    assert [m.value for m in sorted(logged, key=lambda m: m.step)] == pytest.approx(
        history["val_loss"]
    )
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"run.json", "history.json"} <= names
    stored = json.loads((project / "run/run.json").read_text(encoding="utf-8"))
    kept = next((project / "mlartifacts").rglob("run.json"))
    assert json.loads(kept.read_text(encoding="utf-8"))["status"] == stored["status"] == "finished"


def test_resumed_training_goes_on_in_its_run(project: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    train(project, "train.epochs=1")
    train(project, "train.epochs=3", resume=True)
    client, run = only_run(project)
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 3
    assert run.info.status == "FINISHED"


def test_scores_join_the_run(project: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    train(project, "train.epochs=1")
    folder = project / "run/evaluation"
    folder.mkdir()
    summary = {
        "macro": {"dice": {"mean": 0.8, "ci95": None}, "hd95": {"mean": None}},
        "classes": [{"id": 1, "name": "disc", "dice": {"mean": 0.7}}],
    }
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    training = Training(load(project / "a.toml"), Console(quiet=True))
    training.tracker.evaluation(folder, summary)
    client, run = only_run(project)
    assert run.data.metrics["evaluation.dice.macro"] == 0.8
    assert run.data.metrics["evaluation.dice.class_1"] == 0.7
    assert [f.path for f in client.list_artifacts(run.info.run_id, "evaluation")] == [
        "evaluation/summary.json"
    ]


class _Notes:
    """A client that notes which runs are begun and which are gone on with."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, dict[str, str]]] = []
        self.updated: list[str] = []

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="0")

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        self.begun.append((run_name, tags))
        return SimpleNamespace(info=SimpleNamespace(run_id=f"id of {run_name}"))

    def update_run(self, run_id: str, status: str) -> None:
        self.updated.append(run_id)


def test_fold_is_named_after_its_crossvalidation(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = _Notes()
    monkeypatch.setattr(tracking, "_connect", lambda *_: client)
    monkeypatch.setattr(Tracker, "_log_parameters", lambda _: None)
    (project / "run/fold_0").mkdir(parents=True)
    loaded = load(project / "a.toml")
    whole = Tracker(Manifest.start(project / "run", loaded), loaded.experiment.train.mlflow)
    whole.start(resumed=False)
    config = load(project / "a.toml", [f"train.run_dir={project / 'run/fold_0'}"])
    fold = Tracker(Manifest.start(project / "run/fold_0", config), config.experiment.train.mlflow)
    fold.become_part_of(whole.as_whole())
    fold.start()
    assert client.begun == [
        ("run", {}),
        ("run/fold_0", {"mlflow.parentRunId": "id of run"}),
    ]
    again = Tracker(Manifest.start(project / "run", loaded), loaded.experiment.train.mlflow)
    again.start(resumed=True)
    assert client.updated == ["id of run"] and len(client.begun) == 2


def test_off_by_default(project: Path) -> None:
    train(project, "train.mlflow=", "train.epochs=1")
    assert not (project / "mlflow.db").exists() and not (project / "run/mlflow.json").exists()
    training = Training(load(project / "a.toml", ["train.mlflow="]), Console(quiet=True))
    assert training.tracker.callbacks() == []


def test_missing_package_is_a_warning(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    result = train(project, "train.epochs=1")
    assert result.weights.is_file()
    assert "flexseg[mlflow]" in caplog.text


@pytest.mark.parametrize(
    "uri", ["nonsense://x", "sqlite:////proc/none/mlflow.db", "http://127.0.0.1:9"]
)
def test_store_that_does_not_work_is_a_warning(
    project: Path, caplog: pytest.LogCaptureFixture, uri: str
) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    assert train(project, "train.epochs=1", f"train.mlflow={uri}").weights.is_file()
    assert caplog.text.count("tracking has stopped") == 1


class _BreaksLater:
    """A client that fails after the run was created."""

    def __getattr__(self, name: str) -> Any:
        raise ConnectionError("the server is gone")


def test_store_that_breaks_while_training(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker: Tracker = Training(load(project / "a.toml"), Console(quiet=True)).tracker
    tracker._client = _BreaksLater()
    tracker.epoch(0, {"loss": 1.0})
    tracker.epoch(1, {"loss": 1.0})
    tracker.finish()
    assert caplog.text.count("tracking has stopped") == 1
