"""Processes that end with the one that started them, however that one ends.

A parent that is killed can tell nobody; but the system closes what it held open.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait


def begin_worker() -> None:
    """Prepare a process of `multiprocessing`: it leaves Ctrl-C to its parent, and ends with it."""
    # Ctrl-C reaches the whole process group; only the main process decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        _end_after(partial(wait, [parent.sentinel]))


def end_with_input() -> None:
    """Let this process end with its parent, which holds its standard input and writes nothing."""
    _end_after(partial(os.read, sys.stdin.fileno(), 1))


def _end_after(event: Callable[[], object]) -> None:
    def watch() -> None:
        event()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
