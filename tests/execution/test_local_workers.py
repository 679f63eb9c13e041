"""Processes of this machine that work together, and may be killed."""

from __future__ import annotations

import logging
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flexseg.errors import ResourceError
from flexseg.execution.local_workers import LocalWorkers
from flexseg.execution.mapping import in_chunks, mapped
from mapped_work import squares, unable


def test_killed_workers_and_deadly_items(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One is killed from outside; one item kills whoever works on it, and fails alone."""
    caplog.set_level(logging.INFO, "flexseg")
    items: list[Any] = [*range(30)]
    items[13], items[21] = "deadly", "wrong"
    found: dict[int, Any] = {}
    pids: set[int] = set()
    work = partial(squares, tmp_path)
    for chunk, results in mapped(work, in_chunks(items, 2), LocalWorkers(2)):
        found |= dict(zip(chunk.numbers, results, strict=True))
        pids = {int(p.name.split()[1]) for p in tmp_path.iterdir()}
        if len(found) == 6:
            os.kill(min(pids), signal.SIGKILL)
    assert {n: r for n, r in found.items() if n not in (13, 21)} == {
        n: n * n for n in range(30) if n not in (13, 21)
    }
    assert "has ended 3 times (killed by SIGKILL)" in str(found[13])
    assert str(found[21]) == "wrong: It is wrong. Mend it."
    # What several log is told once, and what they log when they begin not at all.
    assert [text for text in caplog.messages if "ended" not in text] == ["squared"]
    for pid in pids:  # all are gone
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_errors_come_whole() -> None:
    with pytest.raises(ZeroDivisionError, match="by nothing"):
        [*mapped(squares, in_chunks([1, "error"]), LocalWorkers(1))]
    with pytest.raises(ResourceError, match=r"before they have begun \(exit code 7\)"):
        [*mapped(unable, in_chunks([1]), LocalWorkers(1))]
