"""Plans of synthetic datasets, and all the way from a folder to a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flexseg.checking.audit import audit
from flexseg.cli import app
from flexseg.config import Severity, load
from flexseg.errors import ConfigError, Interrupted
from flexseg.planning import auto as auto_module
from flexseg.planning import plan as plan_module
from flexseg.planning.auto import Auto
from flexseg.planning.plan import make_plan
from flexseg.planning.timing import StepTime
from flexseg.training.run import RunManifest
from synthetic import write_dataset


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are not measured: a step of any network takes 10 ms."""
    step = StepTime(0.01, 0.01, 0.004, 1.0, 8, 1000)
    monkeypatch.setattr(plan_module, "time_step", lambda *_, **__: step)


@pytest.mark.usefixtures("quick")
def test_a_plan_is_a_config_that_checks_and_every_choice_has_its_reason(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", classes=3)
    plan = make_plan(dataset, tmp_path / "out", 60.0)
    text = plan.config.read_text(encoding="utf-8")
    report = audit(load(plan.config, strict=True))
    assert [str(f) for f in report.findings if f.severity is Severity.ERROR] == []
    e = plan.loaded.experiment
    assert e.train.minutes == 1
    assert (e.model.image_width, e.model.image_height) == (48, 40)
    assert e.model.num_classes == 3
    lines = text.splitlines()
    for key in ("learning_rate", "schedule", "minutes", "image_width", "batch_size", "hflip"):
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{key} ="))
        assert lines[place - 1].startswith("# "), key
    fingerprint = json.loads((tmp_path / "out/fingerprint.json").read_text())
    assert fingerprint["cases"] == {"train": 8, "valid": 4, "test": 4}


@pytest.mark.usefixtures("quick")
def test_a_plan_overwrites_nothing(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data")
    make_plan(dataset, tmp_path / "out", 60.0)
    with pytest.raises(ConfigError, match="already"):
        make_plan(dataset, tmp_path / "out", 60.0)


@pytest.mark.usefixtures("quick")
def test_rare_classes_are_oversampled(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", {"train": 20, "valid": 4, "test": 4})
    other = write_dataset(tmp_path / "other", {"train": 2, "valid": 4, "test": 4}, classes=3)
    for kind in ("images", "masks"):
        for split in ("train", "valid", "test"):
            for path in (other / split / kind).iterdir():
                path.rename(dataset / split / kind / f"x{path.name}")
    plan = make_plan(dataset, tmp_path / "out", 60.0)
    assert plan.loaded.experiment.train.oversample > 0
    assert "9 % of the training images" in plan.config.read_text(encoding="utf-8")


def test_a_step_is_measured(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data")
    plan = make_plan(dataset, tmp_path / "out", 30.0)
    assert 0 < plan.step.seconds < 30
    assert plan.step.parameters > 1000


def test_from_a_folder_to_a_report_in_time(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", {"train": 12, "valid": 4, "test": 5}, classes=3)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["auto", str(dataset), "--time", "30s", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert "Report:" in result.output
    summary = json.loads((out / "run/evaluation/summary.json").read_text())
    assert summary["cases"] == 5
    assert summary["macro"]["dice"]["mean"] > 0.1
    assert (out / "report.html").stat().st_size > 10_000
    manifest = json.loads((out / "run/run.json").read_text())
    assert manifest["status"] == "finished"


@pytest.mark.usefixtures("quick")
def test_an_interrupted_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_dataset: Callable[..., Path]
) -> None:
    dataset = make_dataset()

    class Stopped:
        """A training that is interrupted, then finished."""

        calls: ClassVar[list[bool]] = []

        def __init__(self, loaded: object, console: Console, started: float) -> None:
            self.loaded = loaded

        def run(self, *, resume: bool) -> None:
            self.calls.append(resume)
            folder = tmp_path / "out" / "run"
            folder.mkdir(exist_ok=True)
            RunManifest(folder, self.loaded).write()  # type: ignore[arg-type]
            raise Interrupted("stopped", "go on")

    monkeypatch.setattr(auto_module, "Training", Stopped)
    pipeline = Auto(tmp_path / "out", 60.0, time.monotonic(), Console(quiet=True))
    pipeline.plan(dataset, split_file=None, group=None)
    with pytest.raises(Interrupted):
        pipeline.run()
    with pytest.raises(ConfigError, match="--resume"):
        pipeline.plan(dataset, split_file=None, group=None)
    pipeline.reopen()
    with pytest.raises(Interrupted):
        pipeline.run(resume=True)
    assert Stopped.calls == [False, True]
