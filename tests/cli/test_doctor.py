"""`flexseg doctor`, reports of errors that should not happen, help and completion."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flexseg.planning import speed_test
from flexseg.planning.timing import StepTime
from support import flexseg, result_of


def test_machine_engine_and_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = StepTime(0.5, 0.4, 0.1, 3.0, 8, 123456)
    monkeypatch.setattr(speed_test, "time_step", lambda experiment: step)
    assert flexseg("doctor") == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("processor", "precision", "16 images a second", "each of 200 images 48 times"):
        assert part in text
    assert flexseg("doctor", "--no-speed", "--json") == 0
    facts = result_of(capsys.readouterr().out)
    assert facts["engine"].startswith("tensorflow") and "training" not in facts


def test_a_machine_without_an_engine_is_described_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flexseg("doctor", "--backend", "theano") == 0
    assert "'theano' is not a backend." in " ".join(capsys.readouterr().out.split())


def test_an_unexpected_error_is_kept_with_traceback_and_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("flexseg.runs.listing.find_runs", broken)
    assert flexseg("runs", tmp_path) == 1
    (file,) = tmp_path.glob("flexseg_error_*.txt")
    text = file.read_text(encoding="utf-8")
    assert "RuntimeError: a fault" in text and "Traceback" in text and "processor: " in text
    said = capsys.readouterr().err
    assert str(file) in said.replace("\n", "") and "Traceback" not in said
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert flexseg("runs", tmp_path) == 1
    assert "--debug" in capsys.readouterr().err


def test_help_is_grouped_by_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("--help") == 0
    shown = capsys.readouterr().out
    heads = ["Look at and prepare data", "Train", "Predict", "Judge", "Share", "Help"]
    places = [next(i for i, row in enumerate(shown.splitlines()) if f"─ {h}" in row) for h in heads]
    assert places == sorted(places)


@pytest.mark.skipif(os.name == "nt", reason="a script of bash")
def test_the_shell_completes_commands() -> None:
    environment = {
        **os.environ,
        "_FLEXSEG_COMPLETE": "complete_bash",
        "COMP_WORDS": "flexseg tu",
        "COMP_CWORD": "1",
    }
    line = [sys.executable, "-m", "flexseg"]
    found = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert set(found.stdout.split()) == {"tune", "tune-postprocessing"}
