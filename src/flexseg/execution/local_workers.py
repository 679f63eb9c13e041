"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from flexseg.backend import silent_stderr
from flexseg.execution.child_processes import PipeEnd, begin_worker
from flexseg.execution.machine_share import share_gpu, share_machine
from flexseg.execution.mapping import Answered, Began, Ended, Message, Open, Raised

# Seconds in which a process that has nothing to do ends by itself, and one that is told to.
_PATIENCE = 10.0


@dataclass
class _Process:
    """One of the workers; `chunks` were sent to it and are not answered."""

    process: BaseProcess
    connection: PipeEnd
    chunks: int = 0


class LocalWorkers:
    """`count` processes that share the processors of this machine, see `Workers`."""

    def __init__(self, count: int) -> None:
        self.count = count
        share_gpu()  # between this process and the others
        # A forked child of a process with engine threads can hang.
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[int, _Process] = {}

    def start(self, worker: int, make: Open) -> None:
        """Start a process, also again after it has ended."""
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(there, worker, self.count), name=f"worker {worker}"
        )
        process.start()
        there.close()  # with the process' end the connection has none
        self._processes[worker] = _Process(process, here)
        self._send(worker, make)

    def send(self, worker: int, items: Sequence[Any]) -> None:
        """Give a process a chunk."""
        self._processes[worker].chunks += 1
        self._send(worker, items)

    def _send(self, worker: int, content: object) -> None:
        with suppress(OSError):  # it has ended, as `receive` will tell
            self._processes[worker].connection.send(content)

    def receive(self) -> Message:
        """Wait for the next message of any of them."""
        found: dict[PipeEnd, int] = {
            one.connection: worker for worker, one in self._processes.items()
        }
        connection: PipeEnd = wait([*found])[0]
        worker = found[connection]
        try:
            message: Message = connection.recv()
        except (EOFError, OSError):
            return Ended(worker, self._end_of(self._processes.pop(worker)))
        if isinstance(message, Answered):
            self._processes[worker].chunks -= 1
        return message

    def _end_of(self, one: _Process) -> str:
        one.connection.close()
        one.process.join(_PATIENCE)
        code = one.process.exitcode
        if code is None:
            one.process.kill()
            return "it closed its connection"
        if code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"

    def close(self) -> None:
        """End all: those that work at once, the others by themselves."""
        for worker, one in self._processes.items():
            if one.chunks:
                one.process.terminate()
            else:
                self._send(worker, None)
        for one in self._processes.values():
            one.process.join(_PATIENCE)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()
            one.connection.close()
        self._processes = {}


def _work(connection: PipeEnd, worker: int, count: int) -> None:
    """Answer chunks until there is none."""
    begin_worker()
    share_machine(worker, count)
    try:
        with silent_stderr():  # of engines that are imported on the way
            answer = connection.recv()()
        connection.send(Began(worker))
        while (items := connection.recv()) is not None:
            connection.send(Answered(worker, answer(items)))
    except EOFError:
        return
    except Exception as error:
        connection.send(Raised.of(worker, error))
