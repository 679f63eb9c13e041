"""Cases run in child processes with limits of time and memory, forked from this one."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SECONDS = 20
MEMORY = 1 << 30


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes
    ----------
    kind : "refused", "read", "traceback", "hang", "memory" or "wrong".
    detail : the error, if that is of interest.
    """

    number: int
    kind: str
    detail: str = ""


Judge = Callable[[int, Path], Outcome]


def run(judge: Judge, numbers: Sequence[int]) -> Iterator[Outcome]:
    """The outcome of each case, in order; a child that hangs or dies is followed by another."""
    at = 0
    while at < len(numbers):
        for outcome in _child(judge, numbers[at:]):
            yield outcome
            at += 1


def _child(judge: Judge, numbers: Sequence[int]) -> Iterator[Outcome]:
    """The outcomes of one child, to its end."""
    source, target = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = os.fork()
        if process == 0:
            os.close(source)
            _work(judge, numbers, Path(folder), target)
        os.close(target)
        done = 0
        with os.fdopen(source, "rb") as pipe:
            while done < len(numbers):
                line = b""
                ready, _, _ = select.select([pipe], [], [], SECONDS)
                if ready:
                    line = pipe.readline()
                if not line:
                    break
                yield Outcome(**json.loads(line))
                done += 1
        hangs = done < len(numbers) and not ready
        if hangs:
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if hangs:
            yield Outcome(numbers[done], "hang", f"longer than {SECONDS} s")
        elif os.WIFSIGNALED(status):
            yield Outcome(
                numbers[done], "traceback", f"the process died of signal {os.WTERMSIG(status)}"
            )


def _work(judge: Judge, numbers: Sequence[int], folder: Path, target: int) -> None:
    """The life of a child, which ends early after a case of much memory."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    before = _peak()
    limit = _size() + 3 * MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in numbers:
        place = folder / str(number)
        place.mkdir()
        try:
            outcome = judge(number, place)
        except BaseException:
            outcome = Outcome(number, "traceback", traceback.format_exc())
        much = _peak() - before > MEMORY
        if much:
            outcome = Outcome(number, "memory", f"{_peak() - before} bytes")
        os.write(target, json.dumps(asdict(outcome)).encode() + b"\n")
        if much:
            break
    os._exit(0)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _size() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    return pages * resource.getpagesize()
