"""`--json` of commands that take long."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flexseg.cli.app import app, console
from support import CONFIG, events_of, flexseg, result_of

LONG = (
    "advise auto augment check crossval demo evaluate infer infer3d plan quantize review tiled-infer train tune "
    "tune-postprocessing"
)


@pytest.fixture
def config(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    make_dataset({"train": 8, "valid": 2, "test": 2}, classes=3)
    path = tmp_path / "a.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.mark.usefixtures("eager")
def test_a_training_and_its_evaluation_line_by_line(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flexseg("train", config, "--set", "train.epochs=2", "--json") == 0
    lines = events_of(capsys.readouterr().out)
    assert lines[0]["event"] == "start" and lines[0]["command"] == "train"
    assert lines[-1]["event"] == "end" and lines[-1]["exit_code"] == 0
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2]
    assert {"loss", "val_loss"} <= epochs[0]["values"].keys() and epochs[0]["best"]
    assert epochs[-1]["done"] == 1
    (result,) = (line for line in lines if line["event"] == "result")
    assert Path(result["model"]).is_file()
    assert flexseg("evaluate", config, "--json") == 0
    assert result_of(capsys.readouterr().out)["summary"]["cases"] == 2
    assert not console.quiet


def test_an_error_is_a_line_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("train", tmp_path / "none.toml", "--json") == 2
    out, shown = capsys.readouterr()
    start, error, end = map(json.loads, out.splitlines())
    assert error["event"] == "error" and error["error"] == "ConfigError" and error["fix"]
    assert end["exit_code"] == 2 and start["schema"] == 1
    assert "Error:" in shown


def test_all_long_commands_have_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    registered = {c.name or c.callback.__name__: c.callback for c in app.registered_commands}
    for name in LONG.split():
        assert "as_json" in registered[name].__signature__.parameters, name
    for name in ("volumes", "coco", "annotations"):
        assert flexseg("derive", name, "--help") == 0
        assert "--json" in capsys.readouterr().out
