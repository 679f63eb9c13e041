"""Processes are told apart, and from those that run no more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from flexseg import processes
from flexseg.processes import ProcessMark

OTHER = "from flexseg.processes import ProcessMark; print(ProcessMark.own(), flush=True); input()"


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], ProcessMark]]:
    """A process that waits, and its mark."""
    child = subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    mark = ProcessMark.parse(child.stdout.readline().strip())
    assert mark is not None
    yield child, mark
    child.kill()
    child.communicate()


def test_a_process_knows_itself() -> None:
    own = ProcessMark.own()
    assert own.pid == os.getpid()
    assert ProcessMark.parse(str(own)) == own
    assert not own.is_gone


def test_a_process_is_gone_when_it_was_killed_although_nobody_has_asked_how_it_ended(
    other: tuple[subprocess.Popen[str], ProcessMark],
) -> None:
    child, mark = other
    assert mark.pid == child.pid and mark.system == ProcessMark.own().system
    assert not mark.is_gone
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie stays
    assert mark.is_gone
    child.wait()
    assert mark.is_gone


def test_a_number_that_is_used_again_is_another_process() -> None:
    own = ProcessMark.own()
    assert replace(own, start="0123abcd").is_gone
    assert not replace(own, start="unknown").is_gone


def test_processes_of_other_systems_cannot_be_told_to_be_gone() -> None:
    assert not ProcessMark("0123abcd", 999_999_999, "0123abcd").is_gone


@pytest.mark.parametrize("pid", ["999999999", "9999999999", "4194304"])
def test_numbers_that_no_process_has(pid: str) -> None:
    assert replace(ProcessMark.own(), pid=int(pid)).is_gone


@pytest.mark.parametrize("text", ["", "a-b-c", "0123abcd--1-0123abcd", "0123abcd-1", "x" * 9999])
def test_other_texts_are_no_marks(text: str) -> None:
    assert ProcessMark.parse(text) is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no ps")
def test_ps_tells_the_same_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    first = processes._start_of(os.getpid())
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert first == processes._start_of(os.getpid()) != processes._start_of(1)
    assert processes._start_of(999_999_999) is None
