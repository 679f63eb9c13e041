"""What `evaluate --workers` finds and writes is what one process does; it goes on after an error."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexseg.dataset.parallel import run_parallel
from flexseg.errors import DataError
from flexseg.execution import local_workers
from flexseg.execution.mapping import Answered
from flexseg.execution.shared import shared_by
from flexseg.files.images import write_png
from flexseg.inference.engines.opening import installed
from flexseg.inference.trust.input_check import tell_unknown
from flexseg.outputs import UNFINISHED
from mapped_work import Distant
from sample_run import CONFIG
from support import bytes_below, flexseg
from synthetic import write_dataset
from worked_project import write_trained


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, its data, and masks that differ from those of the test split."""
    folder = tmp_path_factory.mktemp("project")
    write_dataset(folder / "data", {"train": 1, "valid": 1, "test": 9}, classes=3)
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    rng = np.random.default_rng(0)
    (folder / "found").mkdir()
    for i in range(9):
        size = (20, 24) if i == 4 else (40, 48)
        labels = rng.integers(0, 3, size, np.uint8) * (rng.random(size) < 0.1)
        pixels = np.array([(0, 0, 0), (0, 255, 0), (255, 0, 0)], np.uint8)[labels]
        write_png(folder / "found" / f"test_{i:02d}.png", pixels)
    return folder


def told(capsys: pytest.CaptureFixture[str], *hidden: Path) -> str:
    text = "".join(capsys.readouterr())
    for place in hidden:
        text = text.replace(str(place), "OUT")
    return re.sub(r"\s+", " ", text).strip()


def test_masks_of_a_folder(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(project / "data", tmp_path / "data")
    damaged = tmp_path / "data" / "test" / "masks" / "test_03.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(b"\x89PNG damaged")

    def run(name: str, *more: str) -> tuple[int, str]:
        masks, output = tmp_path / "data" / "test" / "masks", tmp_path / name / "out"
        where = ("--predictions", project / "found", "--masks", masks, "-o", output)
        code = flexseg("evaluate", project / "a.toml", *where, *more)
        return code, told(capsys, output)

    serial = run("one")
    assert serial[0] == 3 and "test_03.png" in serial[1]
    assert run("two", "--workers", "2") == serial
    assert not (tmp_path / "one" / "out").exists()
    damaged.write_bytes(whole)
    serial = run("one")
    assert serial[0] == 0 and "1 prediction of another size" in serial[1]
    # The number of workers is no part of the work.
    code, text = run("two", "--workers", "1")
    kept = " INFO 8 results of an earlier run, which was interrupted, were kept."
    assert code == 0 and kept in text and text.replace(kept, "") == serial[1]
    assert {"cases.csv", "summary.json"} <= {*bytes_below(tmp_path / "two" / "out")}
    assert bytes_below(tmp_path / "two") == bytes_below(tmp_path / "one")


@pytest.mark.long
@pytest.mark.usefixtures("engines_on")
def test_a_trained_network(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A worker is killed, and then the command interrupted."""
    if not installed("onnx"):
        pytest.skip("the extra onnx is not installed")
    config = write_trained(tmp_path)

    def run(name: str, *more: str) -> tuple[int, str]:
        tell_unknown.cache_clear()  # once in each process
        code = flexseg("evaluate", config, "-o", tmp_path / name / "out", *more)
        return code, told(capsys, tmp_path / name / "out")

    serial = run("one")
    assert serial[0] == 0
    received = local_workers.LocalWorkers.receive
    answers = 0

    def disturbed(self: Any) -> Any:
        nonlocal answers
        message = received(self)
        answers += isinstance(message, Answered)
        if answers == 1 and isinstance(message, Answered):
            for one in self._processes.values():
                os.kill(one.process.pid, signal.SIGKILL)
        if answers == 2:
            raise KeyboardInterrupt
        return message

    with monkeypatch.context() as patch:
        patch.setattr(local_workers.LocalWorkers, "receive", disturbed)
        assert run("two", "--workers", "2")[0] == 130
    assert answers == 2
    code, text = run("two", "--workers", "1")
    assert code == 0
    kept = re.search(r" INFO (\d) results of an earlier run, [a-z ,]+ were kept\.", text)
    assert kept is not None and 2 <= int(kept[1]) <= 4
    assert text.replace(kept[0], "") == serial[1]
    files = bytes_below(tmp_path / "two")
    assert files == bytes_below(tmp_path / "one")
    assert "out/predictions/test_08.png" in files
    assert not any(UNFINISHED in name for name in files)


def square_of(number: int) -> int:
    if number < 0:
        raise DataError("It is negative.", "Take another one.", str(number))
    return number * number


@pytest.mark.usefixtures("own_log")
def test_workers_answer_in_order_and_errors_are_told_together() -> None:
    workers = [Distant(2), Distant(3, deaths={70: 3}), Distant(3, deaths={5: 1})]
    done: list[tuple[int, int]] = []
    with shared_by(workers.pop):
        numbers = [*range(70)]
        found = run_parallel(square_of, numbers, None, lambda *args: done.append(args))
        assert found == [square_of(number) for number in numbers]
        assert done == [(i, 70) for i in range(1, 71)]
        with pytest.raises(DataError, match=r"^70: Its worker has ended 3 times"):
            run_parallel(square_of, [*numbers, 70], None, None)
        with pytest.raises(DataError) as shared:
            run_parallel(square_of, [1, -1, 2, -2, -3, 3], 1, None, most_errors=2)
    with pytest.raises(DataError) as serial:
        run_parallel(square_of, [1, -1, 2, -2, -3, 3], 1, None, most_errors=2)
    assert shared.value.problem == serial.value.problem
