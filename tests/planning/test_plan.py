"""Plans of synthetic datasets, and all the way from a folder to a report."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from rich.console import Console

from flexseg.checking.audit import audit
from flexseg.config import Severity, load
from flexseg.dataset.division.config_splits import find_splits
from flexseg.errors import ConfigError, Interrupted
from flexseg.evaluation.trained_volumes import volumes_of_split
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.volume import Volume
from flexseg.planning import auto as auto_module
from flexseg.planning import plan as plan_module
from flexseg.planning.auto import Auto
from flexseg.planning.plan import make_plan
from flexseg.planning.timing import StepTime
from flexseg.runs.manifest import Manifest
from support import flexseg
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
    with pytest.raises(ConfigError, match="which is read"):
        make_plan(dataset, dataset / "train/images/out", 60.0)
    assert not (dataset / "train/images/out").exists()


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


def test_from_a_folder_to_a_report_whatever_interrupts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_dataset(tmp_path / "data", {"train": 5, "valid": 1, "test": 2}, classes=3)
    for kind in ("images", "masks"):
        (dataset / "train" / kind / "broken.png").write_bytes(b"no image")
    out = tmp_path / "out"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(auto_module, "evaluate", interrupted)
        assert flexseg("auto", dataset, "--time", "8s", "-o", out) == 130
    trained = (out / "run/models/best_model.h5").stat().st_mtime_ns
    capsys.readouterr()
    assert flexseg("auto", dataset, "-o", out) == 2
    assert f"auto {dataset} -o {out} --resume" in capsys.readouterr().err
    assert flexseg("auto", dataset, "-o", out, "--resume") == 0
    assert f"infer {out} -i FOLDER -o RESULT" in capsys.readouterr().out
    assert (out / "run/models/best_model.h5").stat().st_mtime_ns == trained
    assert json.loads((out / "run/evaluation/summary.json").read_text())["cases"] == 2
    assert (out / "report.html").stat().st_size > 10_000
    told = json.loads((out / "report.json").read_text())["findings"]
    assert [f["items"][0][:10] for f in told if f["code"] == "unusable-cases"] == ["broken.png"]
    manifest = json.loads((out / "run/run.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["config"]["train"]["minutes"] <= 8 / 60
    assert flexseg("auto", dataset, "-o", out, "--resume") == 2  # it is finished
    assert (out / "3.infer.sh").is_file()
    assert len(list(out.glob("report*.html*"))) == 1


def _volumes(dataset: Path, split: dict[str, list[str]]) -> Path:
    """Volumes of noise with a block of one class, and who is in which split."""
    for folder in ("images", "labels"):
        (dataset / folder).mkdir(parents=True)
    for number, name in enumerate(n for names in split.values() for n in names):
        labels = np.zeros((12, 20, 24), np.uint8)
        labels[4:8, 5:15, 6:18] = 1
        noise = np.random.default_rng(number).normal(40 * labels, 9).astype(np.int16)
        write_volume(dataset / "images" / f"{name}.nii.gz", Volume(noise, (4, 1, 1)))
        write_volume(dataset / "labels" / f"{name}.nii.gz", Volume(labels, (4, 1, 1)))
    (dataset / "split.json").write_text(json.dumps(split))
    return dataset


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("test", [["t0"], []])
def test_volumes_without_a_test_are_scored_on_the_validation(
    tmp_path: Path, test: list[str]
) -> None:
    dataset = _volumes(tmp_path / "data", {"train": ["a", "b"], "valid": ["c"], "test": test})
    plan = make_plan(dataset, tmp_path / "out", 60.0)
    e = plan.loaded.experiment
    split = e.model.evaluation
    assert split == ("test" if test else "valid")
    assert {
        case.id for case in volumes_of_split(e.volume, find_splits(e.data), split, e.dataset.group)
    } == set(test or ["c"])
    assert e.infer.images_dir == dataset / "images"
    assert not e.infer.tta
    report = audit(load(plan.config, strict=True))
    found = {f.code for f in report.findings if f.severity is not Severity.NOTE}
    assert not found & {"no-infer-images"} and report.exit_code == 0
    known = json.loads((tmp_path / "out/fingerprint.json").read_text())
    assert bool(test) != any("no test volumes" in f["what"] for f in known["findings"])


@pytest.mark.usefixtures("quick")
def test_what_is_predicted_are_the_test_images(tmp_path: Path) -> None:
    whole = write_dataset(tmp_path / "whole", {"train": 6, "valid": 2, "test": 2})
    plan = make_plan(whole, tmp_path / "a", 60.0)
    assert plan.loaded.experiment.infer.images_dir == whole / "test/images"
    shutil.rmtree(whole / "test/masks")
    plan = make_plan(whole, tmp_path / "b", 60.0)
    assert plan.loaded.experiment.infer.images_dir == whole / "test/images"
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in (whole / "train/images").iterdir():
        path.rename(mixed / path.name)
        (whole / "train/masks" / path.name).rename(mixed / f"{path.stem}_mask.png")
    plan = make_plan(mixed, tmp_path / "c", 60.0)
    assert plan.loaded.experiment.infer.images_dir is None


@pytest.mark.usefixtures("quick")
def test_the_split_file_of_a_dataset_is_not_lost_where_the_plan_lies_in_it(tmp_path: Path) -> None:
    dataset = tmp_path / "it's [a] \u00e4 folder"
    write_dataset(dataset, {"train": 6})
    for kind in ("images", "masks"):
        (dataset / "train" / kind).rename(dataset / kind)
    own = json.dumps({"train": [f"train_{i:02d}" for i in range(6)]})
    (dataset / "split.json").write_text(own)
    plan = make_plan(dataset, dataset, 60.0)
    (kept,) = dataset.glob("split.json_*_bak")
    assert kept.read_text() == own
    report = audit(load(plan.config, strict=True))
    assert [str(f) for f in report.findings if f.severity is Severity.ERROR] == []


@pytest.mark.usefixtures("quick")
@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_plan_in_a_linked_folder_finds_its_data(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data")
    (tmp_path / "far/away/place").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far/away/place")
    plan = make_plan(dataset, tmp_path / "link", 60.0)
    assert plan.loaded.experiment.train.images_dir == dataset / "train/images"


@pytest.mark.parametrize(
    ("seconds", "times"), [(1.5, 1), (30.0, 5), (600.0, 25), (3 * 86400.0, 432)]
)
@pytest.mark.usefixtures("quick")
def test_it_is_validated_often_enough(
    tmp_path: Path, seconds: float, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = write_dataset(tmp_path / "data", {"train": 3, "valid": 1, "test": 1})
    plan = make_plan(dataset, tmp_path / "out", seconds)
    epoch = plan.loaded.experiment.train.epoch_steps * plan.step.seconds + 0.5
    assert seconds / epoch == pytest.approx(times, rel=0.05)
    assert ("hardly learns" in caplog.text) == (seconds < 2)


def test_a_large_validation_set_leaves_time_for_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = StepTime(1.0, 1.0, 2.0, 1.0, 8, 1000)
    monkeypatch.setattr(plan_module, "time_step", lambda *_, **__: step)
    dataset = write_dataset(tmp_path / "data", {"train": 4, "valid": 40, "test": 1})
    plan = make_plan(dataset, tmp_path / "out", 60.0)
    assert plan.loaded.experiment.train.epoch_steps > 40


def test_a_plan_says_that_the_machine_was_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    step = StepTime(0.5, 0.1, 0.004, 1.0, 8, 1000, 0.6)
    monkeypatch.setattr(plan_module, "time_step", lambda *_, **__: step)
    plan = make_plan(write_dataset(tmp_path / "data"), tmp_path / "out", 60.0)
    reasons = {choice.key: choice.reason for choice in plan.choices}
    for text in (reasons["image_width"], reasons["epoch_steps"], caplog.text):
        assert "other programs took 60 % of the processor" in text


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
            Manifest.start(folder, self.loaded).write()  # type: ignore[arg-type]
            raise Interrupted("stopped", "go on")

    monkeypatch.setattr(auto_module, "Training", Stopped)
    pipeline = Auto(tmp_path / "out", 60.0, time.monotonic(), Console(quiet=True))
    pipeline.plan(dataset, split_file=None, group=None)
    with pytest.raises(Interrupted):
        pipeline.run()
    with pytest.raises(ConfigError, match="--resume"):
        pipeline.plan(dataset, split_file=None, group=None)
    with pytest.raises(Interrupted):
        pipeline.run(resume=True)
    assert Stopped.calls == [False, True]
