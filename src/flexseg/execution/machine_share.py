"""What of this machine a process takes that shares it with others of its kind."""

from __future__ import annotations

import os
import sys

from flexseg.machine import usable_cores


def share_machine(worker: int, processes: int) -> None:
    """Take this process' share of the processors and of a GPU's memory, before an engine starts.

    Parameters
    ----------
    worker : number of this process, from 0.
    processes : that share the machine.
    """
    if processes == 1:
        return
    threads = str(max(1, usable_cores() // processes))
    if sys.platform == "linux" and len(own := sorted(os.sched_getaffinity(0))) >= processes:
        os.sched_setaffinity(0, own[worker % processes :: processes])
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, threads)
    share_gpu()


def share_gpu() -> None:
    """Let the engine that starts in this process leave others their part of a GPU's memory."""
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
