"""Reading, predicting and writing at the same time, in order and in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# What waits in memory to be written is about so many pixels, or one image.
_WAITING_PIXELS = 16_000_000
_WAITING_IMAGES = 16


def workers() -> int:
    """Threads that read, and as many that write: the rest is for the network."""
    return max(1, min(4, (os.cpu_count() or 1) // 2))


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """`map(function, items)` by threads that are at most `count` results ahead of the reader.

    An error of `function` is raised in its turn; items after those that were begun are not taken.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers()) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Writers:
    """Tasks done by threads, whose results are taken in the order of the tasks."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._waiting: deque[tuple[Future[Any], Callable[[Any], None], int]] = deque()

    def give(self, task: Callable[[], Result], take: Callable[[Result], None], pixels: int) -> None:
        """Begin a task that holds so many pixels; waits while too many are unfinished.

        `take` gets the result in the giver's thread, sooner or later; an error of the task is
        raised there instead.
        """
        self._waiting.append((self._pool.submit(task), take, pixels))
        while self._waiting and (self._too_many() or self._waiting[0][0].done()):
            self._take_first()

    def finish(self) -> None:
        """Wait for all tasks."""
        while self._waiting:
            self._take_first()

    def cancel(self) -> None:
        """Drop the tasks that have not begun."""
        for future, _, _ in self._waiting:
            future.cancel()

    def _too_many(self) -> bool:
        pixels = sum(pixels for _, _, pixels in self._waiting)
        return len(self._waiting) > _WAITING_IMAGES or (
            pixels > _WAITING_PIXELS and len(self._waiting) > 1
        )

    def _take_first(self) -> None:
        future, take, _ = self._waiting.popleft()
        take(future.result())


@contextmanager
def writers() -> Iterator[Writers]:
    """Threads that write; at the end all is written, after an error what had begun."""
    with ThreadPoolExecutor(workers()) as pool:
        found = Writers(pool)
        try:
            yield found
            found.finish()
        finally:
            found.cancel()
