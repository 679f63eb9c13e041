"""What `--workers` writes is what one process writes, and it goes on after an interruption."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from flexseg.config.load import load
from flexseg.execution import local_workers
from flexseg.execution.mapping import Answered
from flexseg.inference import configured
from flexseg.inference.engines.opening import installed
from flexseg.inference.trust.input_check import tell_unknown
from flexseg.outputs import UNFINISHED
from support import flexseg
from worked_project import write_project, written


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `write_project`."""
    if not installed("onnx"):
        pytest.skip("the extra onnx is not installed")
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.mark.usefixtures("engines_on")
@pytest.mark.parametrize(
    ("command", "source"),
    [
        ("infer", "images"),
        pytest.param("tiled-infer", "images", marks=pytest.mark.long),
        ("infer3d", "volumes"),
    ],
)
def test_results_and_messages_are_those_of_one_process(
    command: str,
    source: str,
    project: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    for name, more in (("one", ()), ("two", ("--workers", "2"))):
        output = tmp_path / name / "out"
        tell_unknown.cache_clear()  # once in each process
        code = flexseg(command, project / "a.toml", "-i", project / source, "-o", output, *more)
        assert code == 3
        output_text = "".join(capsys.readouterr())
        told.append(re.sub(r"\s+", " ", output_text.replace(str(output), "OUT")).strip())
    assert told[1] == told[0]
    files = written(tmp_path / "one")
    assert len(files) > 4 and files == written(tmp_path / "two")


@pytest.mark.usefixtures("engines_on")
def test_an_interrupted_command_goes_on(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    command = ("infer", project / "a.toml", "-i", project / "images", "-o", tmp_path / "out")
    received = local_workers.LocalWorkers.receive
    answers = 0

    def interrupted(self: Any) -> Any:
        nonlocal answers
        message = received(self)
        answers += isinstance(message, Answered)
        if answers == 2:
            raise KeyboardInterrupt
        return message

    with monkeypatch.context() as patch:
        patch.setattr(local_workers.LocalWorkers, "receive", interrupted)
        assert flexseg(*command, "--workers", "2") == 130
    summary = json.loads((tmp_path / "out" / "predictions.json").read_text())
    first = set(summary["pixels_per_class"])
    assert 4 <= len(first) <= 8  # of one chunk
    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.png")}
    capsys.readouterr()
    # The number of workers is no part of the work.
    assert flexseg(*command, "--workers", "1") == 3
    assert "of an earlier run, which was interrupted, were kept" in capsys.readouterr().err
    kept = {
        p.name
        for p in (tmp_path / "out").glob("*.png")
        if times.get(p.name) == p.stat().st_mtime_ns
    }
    assert first - {"03.png"} >= kept and len(kept) >= len(first) - 2
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(UNFINISHED)]
    assert flexseg(*command[:-1], tmp_path / "other" / "out") == 3
    assert written(tmp_path / "other" / "out") == written(tmp_path / "out")


def test_more_workers_than_processors(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("infer", project / "a.toml", "-i", project / "images", "-o", tmp_path / "out")
    assert flexseg(*command, "--workers", "9999") == 2
    assert "9999 workers would share" in capsys.readouterr().err


def test_a_network_of_ones_own_code_can_be_sent(project: Path) -> None:
    """Of the class that knows its options nothing is pickled."""
    loaded = load(project / "a.toml", run_code=True)
    again = pickle.loads(pickle.dumps(configured.sent(loaded)))  # noqa: S301 - our own
    assert again.experiment.model.num_layers == 2
    assert type(again.experiment.model).__name__ == "ModelConfig"
