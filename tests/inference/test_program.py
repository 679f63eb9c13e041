"""The loop that all commands of prediction share."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path

import pytest

import numbers_job
from flexseg.errors import ConfigError, DataError, ResourceError
from flexseg.execution.local_workers import LocalWorkers
from flexseg.inference.program import (
    OnShare,
    Outcome,
    Result,
    Spread,
    Task,
    existing,
    run,
    unreadable,
)
from flexseg.processes import ProcessMark
from numbers_job import Notes, Numbers


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder of the results would be."""
    monkeypatch.chdir(tmp_path)


class Listed:
    """Notes what is asked of it, in order."""

    count = 4
    together = at_once = 1
    kind_of_notes = type(None)

    def __init__(self, *tasks: Task[int, None]) -> None:
        self.folders = [Path("out")]
        self._tasks = tasks
        self.asked: list[str] = []

    def prepare(self, *, goes_on: bool = False) -> None:
        self.asked.append("prepare")

    def items(self) -> tuple[Task[int, None], ...]:
        return self._tasks

    def tasks(self, items: Iterable[Task[int, None]]) -> Iterator[Task[int, None]]:
        for task in items:
            self.asked.append(task.name)
            yield task

    def name(self, item: Task[int, None]) -> str:
        return item.name

    def sources(self, item: Task[int, None]) -> list[Path]:
        return []

    def is_written(self, item: Task[int, None]) -> bool:
        return False

    def finish(self, outcome: Outcome[int, None]) -> None:
        self.asked.append(f"finish {len(outcome.files)}")


def _entry(name: str, value: int, pixels: int | None = None) -> Task[int, None]:
    return Task(name, lambda _: Result(value), pixels)


def _failing(on_share: OnShare) -> Result[int, None]:
    raise DataError("Damaged.", "Mend it.", "c")


def test_files_and_failures_are_counted() -> None:
    steps: list[tuple[float, int]] = []
    error = DataError("No table.", "Write it.", "d")
    job = Listed(
        _entry("a", 1),
        unreadable("b", DataError("Empty.", "Fill it.", "b")),
        Task("c", _failing),
        Task("d", lambda _: Result(4, error)),
    )
    outcome = run(job, lambda *step: steps.append(step))
    assert outcome.files == {"a": 1, "d": 4}
    assert outcome.failed == {
        "b": "b: Empty. Fill it.",
        "c": "c: Damaged. Mend it.",
        "d": "d: No table. Write it.",
    }
    assert outcome.folders == [Path("out")]
    assert job.asked == ["prepare", "a", "b", "c", "d", "finish 2"]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_shares_of_a_file_are_reported() -> None:
    steps: list[tuple[float, int]] = []

    def half(on_share: OnShare) -> Result[int, None]:
        on_share(0.5)
        return Result(1)

    run(Listed(_entry("a", 1), Task("b", half)), lambda *step: steps.append(step))
    assert steps == [(1, 4), (1.5, 4), (2, 4)]


def test_threads_do_what_may_be_done_by_them_and_the_order_stays() -> None:
    def thread(on_share: OnShare) -> Result[int, None]:
        return Result(threading.get_ident())

    here = threading.get_ident()
    job = Listed(
        Task("a", thread, 5), Task("b", thread, 5), Task("c", thread), Task("d", thread, 5)
    )
    files = run(job).files
    assert set(files) == {"a", "b", "c", "d"}
    assert files["c"] == here
    assert here not in {files["a"], files["b"], files["d"]}
    assert [name for name in files if name != "c"] == ["a", "b", "d"]


def test_what_was_done_is_written_when_the_program_ends_early() -> None:
    def full(on_share: OnShare) -> Result[int, None]:
        raise ResourceError("The disk is full.", "Free some space.")

    job = Listed(_entry("a", 1), Task("b", full), _entry("c", 3))
    with pytest.raises(ResourceError, match="disk is full"):
        run(job)
    assert job.asked == ["prepare", "a", "b", "finish 1"]


def _numbers(tmp_path: Path, count: int) -> Numbers:
    """A job of `count` numbers."""
    (tmp_path / "in").mkdir()
    for i in range(count):
        (tmp_path / "in" / f"{i:02}.txt").write_text(str(i))
    return Numbers(tmp_path / "in", tmp_path / "results", tmp_path / "log")


def _spread(job: Numbers, workers: int = 1) -> Spread[Path, int, Notes]:
    return Spread(LocalWorkers(workers), partial(Numbers, *astuple(job)), "key")


def test_workers_do_what_one_process_does(tmp_path: Path) -> None:
    job = _numbers(tmp_path, 9)
    (tmp_path / "in" / "03.txt").write_text("three")
    steps: list[tuple[float, int]] = []
    shared = run(job, lambda *step: steps.append(step), _spread(job, 2))
    assert sorted(steps) == steps and steps[-1] == (9, 9)
    alone = run(replace(job, output=tmp_path / "alone"))
    assert (shared.files, shared.failed, shared.notes) == (alone.files, alone.failed, alone.notes)
    assert [*shared.files] == [*alone.files] and len(alone.files) == 8
    assert {p.name for p in (tmp_path / "results").iterdir()} == {
        p.name for p in (tmp_path / "alone").iterdir()
    }


def test_a_killed_program_goes_on(tmp_path: Path) -> None:
    """What was done, and noted, is not done again; what was changed or is lost is."""
    job = _numbers(tmp_path, 40)
    program = [sys.executable, numbers_job.__file__, *map(str, astuple(job)[:3])]
    with subprocess.Popen(program) as process:
        while len(list(job.output.glob("*.txt"))) < 12:
            time.sleep(0.02)
        process.kill()
    time.sleep(1.5)  # its workers end with it
    before = job.log.read_text().split()
    done = sorted(p.name for p in job.output.glob("*.txt"))
    assert not (job.output / "all.json").exists() and 12 <= len(done) < 40
    mark = replace(ProcessMark.own(), pid=process.pid)
    (job.output / "below" / f".part-{mark}-x").mkdir(parents=True)  # of one that died while writing
    (job.output / done[0]).unlink()
    (tmp_path / "in" / done[2]).write_text("100")
    outcome = run(job, spread=_spread(job))
    again = job.log.read_text().split()[len(before) :]
    # Blocks of two: with the first its neighbour is done again, and what was not noted yet.
    assert {*done[:4]} <= {*again}
    assert len({*again} & {*done} - {*done[:4]}) <= 4
    assert {*again} | {*done} == {f"{i:02}.txt" for i in range(40)}
    assert len(again) == len({*again})
    expected = {f"{i:02}.txt": i * i for i in range(40)} | {done[2]: 10000}
    assert outcome.files == expected and [*outcome.files] == [*expected]
    assert json.loads((job.output / "all.json").read_text())["lengths"][done[2]] == 3
    # A finished one begins anew.
    assert {p.name for p in job.output.iterdir()} == {"all.json", "below", *expected}
    assert not any((job.output / "below").iterdir())
    job.log.unlink()
    run(job, spread=_spread(job))
    assert len(job.log.read_text().split()) == 40


def test_existing(tmp_path: Path) -> None:
    assert existing((None, tmp_path, Path("other")), "infer") == tmp_path
    with pytest.raises(ConfigError, match=r"Give --input PATH, or set \[tiledinfer\] images_dir"):
        existing((None, None), "tiledinfer")
    with pytest.raises(ConfigError, match="no such file or folder"):
        existing((tmp_path / "none", tmp_path), "infer")
