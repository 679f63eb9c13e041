"""Processes that end with the one that started them, however that one ends.

A parent that is killed can tell nobody, so its children look.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from typing import Any

from flexseg.processes import ProcessMark

# One end of a pipe: `multiprocessing.connection.Connection`, another class on Windows.
PipeEnd = Any

_LOOK = 1.0


def begin_worker() -> None:
    """Prepare a process of `multiprocessing`: it leaves Ctrl-C to its parent, and ends with it."""
    # Ctrl-C reaches the whole process group; only the main process decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        _end_after(partial(wait, [parent.sentinel]))


def end_with(parent: ProcessMark) -> None:
    """Let this process end with another one that has started it."""

    # No end of its standard input: while a thread waits for that, Windows loads no libraries.
    def watch() -> None:
        while not parent.is_gone:
            time.sleep(_LOOK)

    _end_after(watch)


def _end_after(event: Callable[[], object]) -> None:
    def watch() -> None:
        event()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
