"""Each command takes each path in which it can find what it needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import CONFIG, flexseg

NEEDED = "a config or the folder of a run is needed"


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A folder of a config, whose run is in the folder `run`."""
    make_dataset({"train": 8, "valid": 2, "test": 2}, classes=3)
    folder = tmp_path / "result"
    folder.mkdir()
    text = CONFIG.replace('"dataset/', '"../dataset/').replace(
        "[train]", "[train]\nrun_dir = 'run'"
    )
    (folder / "flexseg.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.usefixtures("eager")
def test_folders_runs_configs_and_models(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flexseg("train", project, "--set", "train.epochs=1") == 0
    run = project / "run"
    model, alone = run / "models/best_model.h5", tmp_path / "alone.h5"
    shutil.copyfile(model, alone)
    scan = tmp_path / "dataset/test/images/test_00.png"
    masks = []
    for number, given in enumerate((project / "flexseg.toml", project, run, model, alone)):
        out = tmp_path / f"out_{number}"
        options = ("--set", "train.precision=float32", "-i", scan, "-o", out)
        assert flexseg("infer", given, *options) == 0
        with Image.open(out / "test_00.png") as image:
            masks.append(np.asarray(image))
    assert all((mask == masks[0]).all() for mask in masks)
    assert flexseg("infer", alone, "-i", scan) == 2
    assert "Give --output" in capsys.readouterr().err
    assert flexseg("evaluate", run) == flexseg("evaluate", project) == 0
    assert flexseg("evaluate", alone) == flexseg("quantize", alone) == 2
    assert capsys.readouterr().err.count(NEEDED) == 2
    assert flexseg("check", run, "--no-data") == flexseg("inspect", run) == 0
    assert flexseg("train", model) == 2
    assert "This is a trained model, but a config is needed." in capsys.readouterr().err
    assert flexseg("report", project, "-o", tmp_path / "page.html", "--no-audit") == 0
    assert flexseg("export-weights", run, "-o", tmp_path / "weights.h5") == 0

    moved = tmp_path / "elsewhere"
    shutil.copytree(project, moved)
    shutil.rmtree(project)
    assert flexseg("infer", moved / "run", "-i", scan, "--set", "infer.overlay_alpha=0.5") == 0
    assert (moved / "run/predictions/test_00.png").is_file() and not project.exists()

    moved.rename(tmp_path / "result")  # the data have moved as well
    tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}_moved"))
    there = tmp_path.with_name(f"{tmp_path.name}_moved")
    assert flexseg("review", there / "result") == 0
    assert (there / "result/run/review/annotations.csv").is_file()
    there.rename(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "no.toml"],
        ["infer", "result", "-i", "nothing"],
        ["tune", "result", "--time", "soon"],
        ["train", "result", "--set", "train.epoch=2"],
        ["auto", "nothing"],
        ["plan", "dataset", "--from", "nothing"],
        ["evaluate", "dataset"],
    ],
)
def test_wrong_words_are_told_before_the_engine_is_imported(
    project: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(_: str | None = None) -> None:
        raise AssertionError("the engine is asked for")

    monkeypatch.chdir(project.parent)
    monkeypatch.setattr("flexseg.backend.select", too_late)
    assert flexseg(*arguments) == 2
