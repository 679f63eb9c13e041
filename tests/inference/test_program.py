"""The loop that all commands of prediction share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flexseg.errors import ConfigError, DataError, ResourceError
from flexseg.inference.program import (
    OnShare,
    Outcome,
    Result,
    Task,
    existing,
    run,
    unreadable,
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder of the results would be."""
    monkeypatch.chdir(tmp_path)


class Job:
    """Notes what is asked of it, in order."""

    count = 4

    def __init__(self, *tasks: Task[int]) -> None:
        self.folders = [Path("out")]
        self._tasks = tasks
        self.asked: list[str] = []

    def prepare(self) -> None:
        self.asked.append("prepare")

    def tasks(self) -> Iterator[Task[int]]:
        for task in self._tasks:
            self.asked.append(task.name)
            yield task

    def finish(self, outcome: Outcome[int]) -> None:
        self.asked.append(f"finish {len(outcome.files)}")


def _entry(name: str, value: int, pixels: int | None = None) -> Task[int]:
    return Task(name, lambda _: Result(value), pixels)


def _failing(on_share: OnShare) -> Result[int]:
    raise DataError("Damaged.", "Mend it.", "c")


def test_files_and_failures_are_counted() -> None:
    steps: list[tuple[float, int]] = []
    error = DataError("No table.", "Write it.", "d")
    job = Job(
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

    def half(on_share: OnShare) -> Result[int]:
        on_share(0.5)
        return Result(1)

    run(Job(_entry("a", 1), Task("b", half)), lambda *step: steps.append(step))
    assert steps == [(1, 4), (1.5, 4), (2, 4)]


def test_threads_do_what_may_be_done_by_them_and_the_order_stays() -> None:
    def thread(on_share: OnShare) -> Result[int]:
        return Result(threading.get_ident())

    here = threading.get_ident()
    job = Job(Task("a", thread, 5), Task("b", thread, 5), Task("c", thread), Task("d", thread, 5))
    files = run(job).files
    assert set(files) == {"a", "b", "c", "d"}
    assert files["c"] == here
    assert here not in {files["a"], files["b"], files["d"]}
    assert [name for name in files if name != "c"] == ["a", "b", "d"]


def test_what_was_done_is_written_when_the_program_ends_early() -> None:
    def full(on_share: OnShare) -> Result[int]:
        raise ResourceError("The disk is full.", "Free some space.")

    job = Job(_entry("a", 1), Task("b", full), _entry("c", 3))
    with pytest.raises(ResourceError, match="disk is full"):
        run(job)
    assert job.asked == ["prepare", "a", "b", "finish 1"]


def test_existing(tmp_path: Path) -> None:
    assert existing((None, tmp_path, Path("other")), "infer") == tmp_path
    with pytest.raises(ConfigError, match=r"Give --input PATH, or set \[tiledinfer\] images_dir"):
        existing((None, None), "tiledinfer")
    with pytest.raises(ConfigError, match="no such file or folder"):
        existing((tmp_path / "none", tmp_path), "infer")
