"""A damaged `run.json` is told of in one sentence, by whichever command reads it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from flexseg import Model, Run
from flexseg.errors import DataError
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from support import flexseg

DAMAGES = {
    "truncated": (b'{\n  "status": "finished",\n  "conf', "it is not JSON, or is cut off"),
    "empty": (b"", "it is empty"),
    "foreign": (b'{"name": "of another program", "version": "1.0"}', "flexseg did not write it"),
    "no object": (b"[1, 2]", "flexseg did not write it"),
    "wrong types": (b'{"status": 3, "config": {"model": "UNet"}}', "flexseg did not write it"),
    "a number of 5,000 digits": (
        b'{"status": "finished", "epochs": ' + b"9" * 5000 + b"}",
        "it is not JSON as flexseg writes it",
    ),
    "binary": (b"\x89PNG\r\n\x1a\n\x00\xff", "it is not text"),
}
# No JSON, and other JSON: what each command is tested with; one of each group with all.
TWO = ("truncated", "wrong types")
# Command, and the folder whose manifest is damaged.
STOPPED = {
    "train": (("train", "one.toml", "--resume"), "one_run"),
    "crossval": (
        ("crossval", "one.toml", "--folds", "2", "--set", "train.run_dir=one_folds", "--resume"),
        "one_folds",
    ),
    "crossval, a fold": (
        ("crossval", "one.toml", "--folds", "2", "--set", "train.run_dir=one_folds", "--resume"),
        "one_folds/fold_1",
    ),
    "evaluate": (("evaluate", "one.toml"), "one_run"),
    "tune-postprocessing": (("tune-postprocessing", "one.toml"), "one_run"),
    "ensemble": (("ensemble", "one_run", "own_run"), "one_run"),
    "ensemble of weights": (
        ("ensemble", "one_run/models/best_model.h5", "one_folds/fold_0"),
        "one_run",
    ),
    "train --repair": (("train", "three.config", "--repair", "--resume"), "repaired"),
    "evaluate --repair": (("evaluate", "three.config", "--repair"), "repaired"),
    "infer --repair": (("infer", "three.config", "--repair"), "repaired"),
    "report --repair": (("report", "three.config", "--repair"), "repaired"),
}
# These say what is lacking, and go on.
TOLD = {
    "runs": (("runs", "."), "one_run"),
    "report of a config": (("report", "one.toml", "--no-audit"), "one_run"),
    "report of a folder": (("report", "one_run", "--no-audit"), "one_run"),
}
# These do not ask what was trained on what.
INDIFFERENT = {
    "compare": ("compare", "one_run", "own_run"),
    "check": ("check", "one.toml"),
    "infer": ("infer", "one.toml"),
    "tiled-infer": ("tiled-infer", "one.toml", "--input", "one/all/images"),
    "infer3d": ("infer3d", "one.toml", "--input", "volumes", "--output", "labels"),
    "inspect of a config": ("inspect", "one.toml"),
    "export-weights": ("export-weights", "one_run/models/best_model.h5", "-o", "exported.h5"),
    "inspect": ("inspect", "one_run/models/best_model.h5"),
}


def with_damages(commands: Iterable[str], one: str) -> list[tuple[str, str]]:
    """Pairs of a command and a damage: some for each command, all for one of them."""
    return [(name, how) for name in commands for how in (DAMAGES if name == one else TWO)]


def damage(study: Path, folder: str, how: str) -> Path:
    path = study / folder / "run.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(DAMAGES[how][0])
    return path


def times(study: Path) -> dict[Path, int]:
    """Of all files; folders are locked for a moment."""
    return {path: path.stat().st_mtime_ns for path in study.rglob("*") if path.is_file()}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed; the terminal breaks lines of the log where they are full."""
    shown = capsys.readouterr()
    return " ".join(f"{shown.out} {shown.err}".split())


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("name", "how"), with_damages(STOPPED, one="evaluate"))
def test_commands_that_need_it_stop(
    name: str,
    how: str,
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(study)
    command, folder = STOPPED[name]
    damage(study, folder, how)
    before = times(study)
    assert flexseg(*command) == 3
    text = said(capsys)
    assert f"The manifest of the run cannot be read: {DAMAGES[how][1]}" in text
    assert f"{folder}/run.json" in text and "Restore the file from a copy" in text
    assert "should not happen" not in text
    if name != "crossval, a fold":
        assert before == times(study)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("name", "how"), with_damages(TOLD, one="runs"))
def test_commands_that_can_do_without_tell(
    name: str,
    how: str,
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(study)
    command, folder = TOLD[name]
    damage(study, folder, how)
    assert flexseg(*command) == 0
    assert f"The manifest of the run cannot be read: {DAMAGES[how][1]}" in said(capsys)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", INDIFFERENT)
def test_commands_that_do_not_read_it(
    name: str, study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study)
    (study / "volumes").mkdir()
    write_volume(study / "volumes/a.nii.gz", Volume(np.zeros((2, 16, 16), np.uint8)))
    damage(study, "one_run", "truncated")
    assert flexseg(*INDIFFERENT[name]) == 0
    assert "manifest" not in said(capsys)


@pytest.mark.parametrize("how", DAMAGES)
def test_the_python_api_refuses_it(how: str, study: Path) -> None:
    run = Run.open(study / "one_run")
    damage(study, "one_run", how)
    for read in (Run.open, Model.load):
        with pytest.raises(DataError) as caught:
            read(study / "one_run")
        assert f"The manifest of the run cannot be read: {DAMAGES[how][1]}" in str(caught.value)
        assert "one_run/run.json" in str(caught.value)
    assert run.status == "finished"


def test_a_report_of_the_python_api_tells_of_it(study: Path) -> None:
    run = Run.open(study / "one_run")
    damage(study, "one_run", "truncated")
    text = run.report().read_text(encoding="utf-8")
    assert f"The manifest of the run cannot be read: {DAMAGES['truncated'][1]}" in text


@pytest.mark.usefixtures("eager")
def test_a_new_training_moves_it_aside(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    path = damage(study, "one_run", "binary")
    assert flexseg("train", "one.toml", "--set", "train.epochs=1") == 0
    (aside,) = path.parent.glob("run.json_*_bak")
    assert aside.read_bytes() == DAMAGES["binary"][0]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("how", ["truncated", "foreign"])
def test_auto_does_not_go_on(
    how: str, study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study)
    (study / "one.toml").rename(study / "flexseg.toml")
    damage(study, "one_run", how)
    assert flexseg("auto", "one/all", "--output", ".", "--resume") == 3
    assert f"The manifest of the run cannot be read: {DAMAGES[how][1]}" in said(capsys)
