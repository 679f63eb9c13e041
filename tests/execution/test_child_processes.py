"""Processes that end with the one that started them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

OF_MULTIPROCESSING = """
import multiprocessing, time
from concurrent.futures import ProcessPoolExecutor
from flexseg.execution.child_processes import begin_worker

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(2, mp_context=context, initializer=begin_worker)
    list(pool.map(time.sleep, [0.2, 0.2]))
    waiting = [pool.submit(time.sleep, 60)]
    print("ready", flush=True)
    time.sleep(60)
"""
OF_SUBPROCESS = """
import subprocess, sys, time

from flexseg.processes import ProcessMark

CHILD = (
    "import sys, time; from flexseg.execution.child_processes import end_with; "
    "from flexseg.processes import ProcessMark; "
    "end_with(ProcessMark.parse(sys.argv[1])); print('ready', flush=True); time.sleep(60)"
)
child = subprocess.Popen([sys.executable, "-c", CHILD, str(ProcessMark.own())])
time.sleep(60)
"""


@pytest.mark.parametrize("program", [OF_MULTIPROCESSING, OF_SUBPROCESS], ids=["pool", "program"])
def test_children_end_with_a_parent_that_is_killed(program: str, tmp_path: Path) -> None:
    """The end of the output tells: each of them, busy or waiting, holds it while it lives."""
    file = tmp_path / "parent.py"
    file.write_text(program, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().strip() == b"ready"
        parent.kill()
        killed = time.monotonic()
        assert parent.stdout.read() == b""
        assert time.monotonic() - killed < 3
