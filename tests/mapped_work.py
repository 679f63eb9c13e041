"""Work for several workers that is done at once, or ends its worker, as the items say."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexseg.errors import DataError
from flexseg.execution.mapping import Answered, Began, Ended, Message, Open, Raised, Reply

logger = logging.getLogger("flexseg.mapped_work")


def squares(place: Path | None = None) -> Callable[[Sequence[Any]], Iterator[Any]]:
    """A function that squares numbers; texts say what else happens.

    Parameters
    ----------
    place : folder in which each call leaves a file with the number of the process.
    """
    logger.warning("begun")

    def of_all(items: Sequence[Any]) -> Iterator[Any]:
        for item in items:
            if place is not None:
                (place / f"{item} {os.getpid()} {time.monotonic_ns()}").touch()
            if item == "wrong":
                yield DataError("It is wrong.", "Mend it.", "wrong")
            elif item == "deadly":
                os.kill(os.getpid(), signal.SIGKILL)
            elif item == "error":
                raise ZeroDivisionError("by nothing")
            elif item == "odd error":
                raise _OddError(lambda: None)
            else:
                logger.info("squared")
                yield item * item

    return of_all


class _OddError(Exception):
    """Cannot be pickled."""

    def __str__(self) -> str:
        return "very odd"


def unable() -> Any:
    """What ends its worker before it has begun."""
    os._exit(7)


@dataclass
class Pretended:
    """Workers in this process, that note what lies with them.

    Parameters
    ----------
    deaths : how often the worker of a chunk with some item dies, by the item.
    dies_early : which of all starts, from 0, end before the worker has begun.
    """

    count: int
    deaths: dict[Any, int] = field(default_factory=dict)
    dies_early: Collection[int] = ()
    starts: int = 0
    most: int = 0
    closed: bool = False
    _answers: dict[int, Callable[[Sequence[Any]], Reply]] = field(default_factory=dict)
    _lying: dict[int, deque[Sequence[Any]]] = field(default_factory=dict)
    _messages: deque[Message] = field(default_factory=deque)

    def start(self, worker: int, make: Open) -> None:
        assert worker not in self._answers
        self._lying[worker] = deque()
        self.starts += 1
        if self.starts - 1 in self.dies_early:
            self._messages.append(Ended(worker, "no room"))
            return
        self._answers[worker] = make()
        self._messages.append(Began(worker))

    def send(self, worker: int, items: Sequence[Any]) -> None:
        self._lying[worker].append(items)
        self.most = max(self.most, *map(len, self._lying.values()))

    def receive(self) -> Message:
        if self._messages:
            return self._messages.popleft()
        # The one that waits for longest, as workers are as fast as each other.
        worker = max(self._answers, key=lambda one: len(self._lying[one]))
        items = self._lying[worker].popleft()
        for item in items:
            if self.deaths and self.deaths.get(item):
                self.deaths[item] -= 1
                del self._answers[worker]
                return Ended(worker, "killed by SIGKILL")
        try:
            return Answered(worker, self._answers[worker](items))
        except Exception as error:
            return Raised.of(worker, error)

    def close(self) -> None:
        self.closed = True


class Distant(Pretended):
    """Workers that get what makes their function, and items, as other processes do."""

    def start(self, worker: int, make: Open) -> None:
        super().start(worker, pickle.loads(pickle.dumps(make)))  # noqa: S301 - our own

    def send(self, worker: int, items: Sequence[Any]) -> None:
        super().send(worker, pickle.loads(pickle.dumps(items)))  # noqa: S301 - our own
