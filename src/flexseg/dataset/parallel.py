"""A function of many items, in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from flexseg.errors import DataError, one_line

Item = TypeVar("Item")
Result = TypeVar("Result")
# Called with (done, total).
Progress = Callable[[int, int], None]
MOST_ERRORS = 5
_MOST_LISTED = 100
_MOST_FIXES = 3


def part_of(on_done: Progress | None, start: int, total: int) -> Progress | None:
    """The progress of one pass over the data as a part of the whole."""
    return (lambda done, _: on_done(start + done, total)) if on_done else None


def run_parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None,
    on_done: Progress | None,
    most_errors: int = MOST_ERRORS,
) -> list[Result]:
    """`function` of every item, in order. At most `workers` items are in memory at once.

    Threads, because decoding and encoding run outside of Python's lock.

    Parameters
    ----------
    most_errors : after so many nothing more is tried.

    Raises
    ------
    DataError : that of an item; where several fail, they are told together.
    """
    workers = workers or min(4, os.cpu_count() or 1)
    results: list[Result] = []
    failed: list[DataError] = []
    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(function, item) for item in items]
        for i, future in enumerate(futures, start=1):
            try:
                results.append(future.result())
            except DataError as error:
                failed.append(error)
                if len(failed) == most_errors:
                    break
            if on_done:
                on_done(i, len(items))
    finally:
        pool.shutdown(cancel_futures=True)
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
