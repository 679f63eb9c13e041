"""Who does what a command maps over many items: threads of its process, or workers.

The command line says so once, for all that happens within. A worker shares nothing further.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from flexseg.errors import DataError
from flexseg.execution.mapping import Begin, LostError, Workers, in_chunks, mapped, one_by_one
from flexseg.execution.work_manifest import Manifest, Noted, Remembered

Item = TypeVar("Item")
Result = TypeVar("Result")

Opening = Callable[[], Workers | None]
_SHARED: ContextVar[Opening | None] = ContextVar("shared", default=None)
# Of a chunk: so many that sending them costs little, so few that all workers end together.
_MOST_TOGETHER, _CHUNKS_EACH = 32, 8


@contextmanager
def shared_by(workers: Opening | None) -> Iterator[None]:
    """Let workers do what is mapped within the block, by this thread.

    Parameters
    ----------
    workers : opens those of one mapping; None: threads of this process do it.
    """
    token = _SHARED.set(workers)
    try:
        yield
    finally:
        _SHARED.reset(token)


def open_workers() -> Workers | None:
    """The workers for one mapping; None: threads of this process do it."""
    opening = _SHARED.get()
    return None if opening is None else opening()


def in_workers(
    function: Callable[[Item], Result], items: Sequence[Item], workers: Workers
) -> Generator[Result | DataError]:
    """`function` of every item, in order; DataErrors are results.

    Parameters
    ----------
    function : it is pickled, as the items are.
    """
    together = max(1, min(_MOST_TOGETHER, len(items) // (_CHUNKS_EACH * workers.count)))
    chunks = in_chunks(items, blocks=together)
    waiting: dict[int, Result | DataError] = {}
    turn = 0
    for chunk, results in mapped(partial(one_by_one, function), chunks, workers):
        for number, item, result in zip(chunk.numbers, chunk.items, results, strict=True):
            waiting[number] = _located(result, item)
        while turn in waiting:
            yield waiting.pop(turn)
            turn += 1


@dataclass(frozen=True)
class Kept(Generic[Item, Result]):
    """How a manifest keeps the results of a work.

    Attributes
    ----------
    name : of an item, which tells it from all others.
    sources : the files that its result is made from.
    as_json, from_json : a result in plain JSON types, and back.
    is_written : whether the files are there that were written with the result.
    """

    name: Callable[[Item], str]
    sources: Callable[[Item], Iterable[Path]]
    as_json: Callable[[Result], Any]
    from_json: Callable[[Any], Result]
    is_written: Callable[[Item], bool] = lambda _: True


def remembered(
    begin: Begin[Item, Result | None],
    items: Sequence[Item],
    workers: Workers,
    manifest: Manifest,
    kept: Kept[Item, Result],
    on_done: Callable[[int, int], None] | None = None,
    *,
    together: int = 1,
) -> list[Result | DataError | None]:
    """What the function gives of all items, in order; a manifest knows what was done before.

    Parameters
    ----------
    begin : makes the function; a result that it leaves None is not kept.
    on_done : called with (done, total).
    together : successive items whose results may depend on each other.
    """
    left: dict[int, DataError | None] = {}
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if on_done is not None:
            on_done(done, len(items))

    known = Remembered(manifest, kept.name, kept.sources, kept.is_written, count)
    for chunk, results in mapped(begin, in_chunks(items, together, 1, known.is_done), workers):
        noted = []
        for number, item, result in zip(chunk.numbers, chunk.items, results, strict=True):
            identity = known.identities.pop(number)
            if result is None or isinstance(result, DataError):
                left[number] = None if result is None else _located(result, item)
            else:
                noted.append((number, Noted(kept.name(item), identity, True, kept.as_json(result))))
        manifest.note(noted)
        count(len(results))
    known.tell("result")
    entries = manifest.entries()
    return [
        left[number] if number in left else kept.from_json(next(entries)[1])
        for number in range(len(items))
    ]


def _located(result: Result | DataError, item: object) -> Result | DataError:
    """A result; where there is none, as the item has ended its workers, with the item's file."""
    if isinstance(result, LostError):
        return DataError(result.problem, result.fix, str(_file_of(item) or item))
    return result


def _file_of(item: object) -> Path | None:
    """The first path that an item holds."""
    if isinstance(item, Path):
        return item
    parts: Iterable[object] = ()
    if isinstance(item, tuple):
        parts = item
    elif is_dataclass(item):
        parts = (getattr(item, field.name) for field in fields(item))
    return next((path for part in parts if (path := _file_of(part)) is not None), None)
