"""A function of many items, by several workers: one loop, whoever the workers are.

Items are given out in chunks, and a worker has one chunk in hand and one in wait, so that a million
items take the memory of a few. A worker that dies is replaced, and its chunk is tried again; an
item that ends its workers again and again fails alone.
"""

from __future__ import annotations

import logging
import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from flexseg.errors import DataError, ResourceError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

# Called with successive items in a worker: one result of each, in order. What is wrong with an item
# is its result; any other error ends the whole work.
Function = Callable[[Sequence[Item]], Iterable[Result | DataError]]
# Makes the function, once in each worker: it loads what all items need. It must be picklable.
Begin = Callable[[], Function[Item, Result]]

# Chunks that lie with a worker: one that it works on, and one so that it need not wait.
_LYING = 2
# After so many deaths a chunk is tried item by item, and after so many an item fails.
_TOGETHER, _ALONE = 2, 3
# Of workers that die, one after the other, before they have begun.
_BEGINNINGS = 3
# Messages of workers that are remembered, so that each is told once.
_REMEMBERED = 1000


@dataclass(frozen=True)
class Told:
    """A line that a worker has logged."""

    logger: str
    level: int
    text: str


@dataclass(frozen=True)
class Reply:
    """What a worker made of a chunk."""

    results: list[Any]
    told: list[Told]


@dataclass(frozen=True)
class Began:
    """A worker is ready."""

    worker: int


@dataclass(frozen=True)
class Answered:
    """A worker has done the chunk that it was sent first."""

    worker: int
    reply: Reply


@dataclass(frozen=True)
class Raised:
    """An error of the function, or of what makes it; `trace` is that of the worker."""

    worker: int
    error: Exception
    trace: str

    @classmethod
    def of(cls, worker: int, error: Exception) -> Raised:
        """An error that was just caught; one that cannot be pickled is told by its text."""
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(worker, error, trace)


@dataclass(frozen=True)
class Ended:
    """A worker is gone, with all that was sent to it; `why` for people."""

    worker: int
    why: str


Message = Began | Answered | Raised | Ended
# Makes what a worker calls with the items of each chunk.
Open = Callable[[], Callable[[Sequence[Any]], Reply]]


class Workers(Protocol):
    """Several processes, on this machine or on others, that each do one chunk at a time.

    Attributes
    ----------
    count : of them; they are numbered from 0.
    """

    @property
    def count(self) -> int: ...

    def start(self, worker: int, make: Open) -> None:
        """Start a worker, also again after it has ended; it calls `make` once."""
        ...

    def send(self, worker: int, items: Sequence[Any]) -> None:
        """Give a started worker a chunk, which it does after those that it has."""
        ...

    def receive(self) -> Message:
        """Wait for the next message of any of them."""
        ...

    def close(self) -> None:
        """End all of them."""
        ...


class LostError(DataError):
    """An item has ended its workers; nobody here knows its file."""


class WorkerTraceback(Exception):  # noqa: N818 - the cause of an error, none itself
    """Where in a worker an error arose."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Chunk(Generic[Item]):
    """Items that a worker gets together.

    Attributes
    ----------
    numbers : of the items, among all.
    deaths : of workers that had it in hand.
    """

    numbers: tuple[int, ...]
    items: tuple[Item, ...]
    deaths: int = 0


def in_chunks(
    items: Iterable[Item],
    together: int = 1,
    blocks: int = 1,
    is_done: Callable[[Sequence[tuple[int, Item]]], bool] = lambda block: False,
) -> Iterator[Chunk[Item]]:
    """Items in chunks that are cut where those of every run over the same items are cut.

    Parameters
    ----------
    together : successive items whose results depend on each other, as images of one batch may in
        their last digit: a block. A chunk is made of whole blocks.
    blocks : of a chunk.
    is_done : whether a block, items with their numbers, is done already; it is then left out.
    """
    numbered = enumerate(items)
    waiting: list[tuple[int, Item]] = []
    while block := list(islice(numbered, together)):
        if not is_done(block):
            waiting += block
        if len(waiting) >= together * blocks:
            yield _chunk(waiting)
            waiting = []
    if waiting:
        yield _chunk(waiting)


def _chunk(block: Sequence[tuple[int, Item]]) -> Chunk[Item]:
    numbers, items = zip(*block, strict=True)
    return Chunk(numbers, items)


def one_by_one(function: Callable[[Item], Result]) -> Function[Item, Result]:
    """A function of one item as one of several."""

    def of_all(items: Sequence[Item]) -> Iterator[Result | DataError]:
        for item in items:
            try:
                yield function(item)
            except DataError as error:
                yield error

    return of_all


def mapped(
    begin: Begin[Item, Result], chunks: Iterable[Chunk[Item]], workers: Workers
) -> Iterator[tuple[Chunk[Item], list[Result | DataError]]]:
    """What the function gives of all chunks, each as soon as it is done.

    The workers are closed at the end, however that comes.

    Parameters
    ----------
    chunks : asked for one as a worker has room for it. They are pickled, so an item should name
        what is to be read rather than hold it.

    Raises
    ------
    ResourceError : workers die before they can begin.
    Exception : any that the function raises in a worker.
    """
    try:
        yield from _Mapping(begin, chunks, workers).run()
    finally:
        workers.close()


class _Mapping(Generic[Item, Result]):
    """A work in progress."""

    def __init__(
        self, begin: Begin[Item, Result], chunks: Iterable[Chunk[Item]], workers: Workers
    ) -> None:
        level = logging.getLogger("flexseg").getEffectiveLevel()
        self._make: Open = partial(Worker, begin, level)
        self._chunks = iter(chunks)
        self._workers = workers
        # To be given out next: what is tried again, and what is there for workers that begin.
        self._next: deque[Chunk[Item]] = deque()
        # What each started worker has, in the order in which it does it.
        self._lying: dict[int, deque[Chunk[Item]]] = {}
        self._ready: set[int] = set()
        self._died_early = 0
        self._told: set[Told] = set()

    def run(self) -> Iterator[tuple[Chunk[Item], list[Result | DataError]]]:
        """See `mapped`."""
        self._give_out()
        while self._next or any(self._lying.values()):
            message = self._workers.receive()
            if isinstance(message, Began):
                self._ready.add(message.worker)
                self._died_early = 0
            elif isinstance(message, Answered):
                chunk = self._lying[message.worker].popleft()
                self._tell(message.reply.told)
                yield chunk, message.reply.results
            elif isinstance(message, Raised):
                raise message.error from WorkerTraceback(message.trace)
            else:
                yield from self._without(message)
            self._give_out()

    def _give_out(self) -> None:
        """Give each worker that has begun a chunk, then each a second one; start those missing.

        One that has not begun yet, and perhaps never does, keeps no chunk from the others. A chunk
        under suspicion has its worker for itself: the answer to one before it may be lost on its
        way when the worker dies, and the blame would fall on that one.
        """
        for most in range(1, _LYING + 1):
            for worker in self._ready:
                lying = self._lying[worker]
                if len(lying) < most and self._draw(1) and not self._suspect_beside(lying):
                    lying.append(self._next.popleft())
                    self._workers.send(worker, lying[-1].items)
        for worker in range(self._workers.count):
            beginning = len(self._lying) - len(self._ready)
            missing = worker not in self._lying and not (self._may_not_begin and self._ready)
            if missing and self._draw(beginning + 1):
                self._lying[worker] = deque()
                self._workers.start(worker, self._make)

    def _suspect_beside(self, lying: Sequence[Chunk[Item]]) -> bool:
        """Whether the next chunk or the last of a worker's must not have company."""
        return bool(lying) and (lying[-1].deaths > 0 or self._next[0].deaths > 0)

    @property
    def _may_not_begin(self) -> bool:
        """Workers that were started of late have all died at once."""
        return self._died_early >= _BEGINNINGS

    def _draw(self, count: int) -> bool:
        """Whether there are so many chunks to give out."""
        self._next.extend(islice(self._chunks, max(0, count - len(self._next))))
        return len(self._next) >= count

    def _without(self, end: Ended) -> Iterator[tuple[Chunk[Item], list[Result | DataError]]]:
        """Try the chunks of a worker that is gone again, the one in hand with suspicion."""
        chunks = self._lying.pop(end.worker)
        begun = end.worker in self._ready
        self._ready.discard(end.worker)
        if not begun:
            self._died_early += 1
            if self._may_not_begin and not self._ready:
                raise ResourceError(
                    f"Workers end before they have begun ({end.why}).",
                    "Each loads a model: use fewer if the memory does not suffice. On other "
                    "machines flexseg must be installed as here.",
                )
        elif chunks:
            chunk = chunks.popleft()
            deaths = chunk.deaths + 1
            logger.info("A worker has ended (%s); another one takes its place.", end.why)
            if len(chunk.items) > 1 and deaths >= _TOGETHER:
                # The fault of one of them is not that of the others, so each has another try.
                pairs = zip(chunk.numbers, chunk.items, strict=True)
                chunks.extendleft(Chunk((n,), (i,), 1) for n, i in [*pairs][::-1])
            elif deaths >= _ALONE:
                yield chunk, [_given_up(end.why, deaths)]
            else:
                chunks.appendleft(Chunk(chunk.numbers, chunk.items, deaths))
        self._next.extendleft(reversed(chunks))

    def _tell(self, told: Iterable[Told]) -> None:
        """Log what a worker did, once for all of them."""
        for line in told:
            if line not in self._told and len(self._told) < _REMEMBERED:
                self._told.add(line)
                logging.getLogger(line.logger).log(line.level, "%s", line.text)


def _given_up(why: str, deaths: int) -> LostError:
    return LostError(
        f"Its worker has ended {deaths} times ({why}).",
        "If it needs more memory than there is, use fewer workers; else the file may be damaged.",
    )


class Worker(Generic[Item, Result]):
    """What works in a worker, whoever has started it.

    What making the function logs is left out: each worker would tell the same.
    """

    def __init__(self, begin: Begin[Item, Result], level: int) -> None:
        self._heard = _Listener()
        package = logging.getLogger("flexseg")
        package.handlers[:] = [self._heard]
        package.setLevel(level)
        package.propagate = False
        self._function = begin()

    def __call__(self, items: Sequence[Item]) -> Reply:
        """Do a chunk."""
        self._heard.lines = []
        return Reply(list(self._function(items)), self._heard.lines)


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Told] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(Told(record.name, record.levelno, record.getMessage()))
