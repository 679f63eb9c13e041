"""A function of many items, in threads or by workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from flexseg.errors import DataError, one_line
from flexseg.execution.shared import in_workers, open_workers
from flexseg.machine import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
# Called with (done, total).
Progress = Callable[[int, int], None]
MOST_ERRORS = 5
_MOST_LISTED = 100
_MOST_FIXES = 3
# Items that each thread has waiting, so that none is idle while results are taken.
_AHEAD = 8


def part_of(on_done: Progress | None, start: int, total: int) -> Progress | None:
    """The progress of one pass over the data as a part of the whole."""
    return (lambda done, _: on_done(start + done, total)) if on_done else None


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Generator[Result]:
    """`function` of every item, in order, as results are asked for.

    However many items there are, only a few are begun before their turn: what waits for a thread,
    or for its result to be taken, costs memory.

    Parameters
    ----------
    workers : threads; without it some more than there are cores, as files are waited for.
    """
    workers = workers or min(32, usable_cores() + 4)
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def run_parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None,
    on_done: Progress | None,
    most_errors: int = MOST_ERRORS,
) -> list[Result]:
    """`function` of every item, in order, see `in_threads`.

    Threads, because decoding and encoding run outside of Python's lock; or the workers that the
    command was given, see `shared_by`.

    Parameters
    ----------
    function : pickled with the items where workers do it, so it must not change anything here.
    workers : threads.
    most_errors : after so many nothing more is tried.

    Raises
    ------
    DataError : that of an item; where several fail, they are told together.
    """
    sharing = open_workers()
    results: list[Result] = []
    failed: list[DataError] = []

    def attempt(item: Item) -> Result | DataError:
        try:
            return function(item)
        except DataError as error:
            return error

    found = (
        in_threads(attempt, items, workers or min(4, usable_cores()))
        if sharing is None
        else in_workers(function, items, sharing)
    )
    with closing(found):
        for i, result in enumerate(found, start=1):
            if isinstance(result, DataError):
                failed.append(result)
                if len(failed) == most_errors:
                    break
            else:
                results.append(result)
            if on_done:
                on_done(i, len(items))
    if failed:
        raise together(failed, len(items) - len(results) > len(failed))
    return results


def together(failed: Sequence[DataError], stopped: bool) -> DataError:
    """Several errors as one.

    Parameters
    ----------
    stopped : there may be more of them.
    """
    if len(failed) == 1:
        return failed[0]
    more = " or more" if stopped else ""
    listed = "".join(
        f"\n{one_line(error.where or '')}: {error.problem}" for error in failed[:_MOST_LISTED]
    )
    rest = f"\nand {len(failed) - _MOST_LISTED} more" if len(failed) > _MOST_LISTED else ""
    fixes = list(dict.fromkeys(error.fix for error in failed))[:_MOST_FIXES]
    error = DataError(f"{len(failed)}{more} files are wrong:", " ".join(fixes))
    error.problem += f"{listed}{rest}"
    return error
