"""The trainings of a cross-validation, several at a time, each in a process of its own.

Every fold has a fresh process, and the processes at work share the processors. Nothing of Keras is
imported here, so that a process takes its share before an engine starts.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from flexseg.errors import FlexsegError, Interrupted, TrainingError
from flexseg.execution.child_processes import PipeEnd, begin_worker
from flexseg.execution.machine_share import share_machine

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from flexseg.dataset.division.splits import Splits
    from flexseg.runs.tracking import WholeRun
    from flexseg.training.trainer import TrainingResult

logger = logging.getLogger(__name__)

# How long trainings may take to save their state when they are stopped.
_SECONDS_TO_STOP = 60.0
# How long a process may take to end once it has sent its result, before it counts as hanging.
_SECONDS_TO_END = 60.0


@dataclass(frozen=True)
class FoldJob:
    """What a process must know to train a fold.

    Attributes
    ----------
    config, overrides : of the fold.
    folder : of its run.
    whole : the run of the cross-validation.
    """

    number: int
    config: Path
    overrides: tuple[str, ...]
    folder: Path
    splits: Splits
    backend: str
    whole: WholeRun


@dataclass
class _Process:
    """A process at work; `slot` says which share of the processors is its own."""

    job: FoldJob
    process: BaseProcess
    connection: PipeEnd
    slot: int


def train_folds(
    jobs: Sequence[FoldJob], processes: int, on_end: Callable[[FoldJob, TrainingResult], None]
) -> list[TrainingResult]:
    """Train folds, so many at a time.

    One that fails does not keep the others from being trained: each is hours of work.

    Parameters
    ----------
    on_end : called with each fold that is trained.

    Raises
    ------
    FlexsegError : of the first fold that failed, once all others have ended.
    Interrupted : after Ctrl-C or SIGTERM, once all have saved their state.
    """
    results: dict[int, TrainingResult] = {}
    errors: list[Exception] = []
    waiting, running = list(jobs), dict[int, _Process]()
    try:
        with _sigterm_as_ctrl_c():
            while waiting or running:
                for slot in range(processes):
                    if waiting and slot not in running:
                        running[slot] = _start(waiting.pop(0), slot, processes)
                for one in _ended(running.values()):
                    del running[one.slot]
                    outcome = _outcome_of(one)
                    if isinstance(outcome, Exception):
                        errors.append(outcome)
                        logger.error("Fold %d failed: %s", one.job.number, outcome)
                    else:
                        results[one.job.number] = outcome
                        on_end(one.job, outcome)
    except KeyboardInterrupt:
        _stop(running.values())
        raise Interrupted(
            "The cross-validation was stopped; its folds have saved their states.",
            "Run the same command with --resume to continue.",
        ) from None
    finally:
        for one in running.values():
            one.process.kill()
            one.process.join()
    if errors:
        raise errors[0]
    return [results[job.number] for job in jobs]


def _start(job: FoldJob, slot: int, processes: int) -> _Process:
    # A forked child of a process with engine threads can hang.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(
        target=_train, args=(job, slot, processes, there), name=f"fold {job.number}"
    )
    process.start()
    there.close()  # with the process' end the connection has none
    return _Process(job, process, here, slot)


def _ended(running: Iterable[_Process]) -> Iterator[_Process]:
    """Wait until one has ended."""
    known: dict[PipeEnd, _Process] = {one.connection: one for one in running}
    yield from [known[ended] for ended in wait([*known])]


def _outcome_of(one: _Process) -> TrainingResult | Exception:
    """What a process has sent, or what it died of."""
    try:
        outcome: TrainingResult | Exception = one.connection.recv()
    except (EOFError, OSError):
        _end(one.process)
        code = one.process.exitcode or 0
        reason = f"ended with code {code}"
        if code < 0:
            reason = f"was killed by signal {-code}, often for lack of memory"
        return TrainingError(
            f"Its process {reason}.",
            "Run the same command with --resume to continue; finished folds are kept.",
            str(one.job.folder),
        )
    finally:
        one.connection.close()
    _end(one.process)
    return outcome


def _end(process: BaseProcess) -> None:
    """Wait for the end of a process that has nothing left to do, and end one that hangs."""
    process.join(_SECONDS_TO_END)
    if process.is_alive():
        process.kill()
        process.join()


def _stop(running: Iterable[_Process]) -> None:
    """Ask trainings to save their states, and wait for it."""
    processes = [one.process for one in running]
    if sys.platform != "win32":  # there they hear Ctrl-C themselves
        for process in processes:
            process.terminate()
    until = time.monotonic() + _SECONDS_TO_STOP
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let batch systems, which send SIGTERM, stop it in the same way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _train(job: FoldJob, slot: int, processes: int, connection: PipeEnd) -> None:
    """Train a fold in a process of its own; what it prints is in `training.log` of its folder."""
    begin_worker()
    if sys.platform != "win32":
        os.setpgrp()  # Ctrl-C would reach it twice, which stops it without saving
    share_machine(slot, processes)
    from flexseg.training.at_once.quiet import load_engine

    try:
        load_engine(job.backend)
        connection.send(_trained(job))
    except FlexsegError as error:
        connection.send(error)


def _trained(job: FoldJob) -> TrainingResult:
    from flexseg.config.load import load
    from flexseg.outputs import make_folder
    from flexseg.runs.manifest import FILE_NAME as MANIFEST
    from flexseg.training.at_once.quiet import quietly
    from flexseg.training.trainer import Training

    started = (job.folder / MANIFEST).exists()
    with quietly(make_folder(job.folder), append=started) as console:
        loaded = load(job.config, job.overrides, run_code=True)
        training = Training(loaded, console, job.splits)
        training.tracker.become_part_of(job.whole)
        return training.run(resume=started)
