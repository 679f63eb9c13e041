"""Threads that read ahead and write behind: order, bounds, errors."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.inference.pipeline import ahead, workers, writers


@given(items=st.lists(st.integers(), max_size=20), count=st.integers(0, 5))
def test_ahead_is_a_map_in_order(items: list[int], count: int) -> None:
    assert list(ahead(lambda i: 2 * i, items, count)) == [2 * i for i in items]


def test_ahead_takes_no_more_than_it_may() -> None:
    begun: list[int] = []
    results = ahead(lambda i: begun.append(i) or i, range(100), 3)
    assert next(results) == 0
    assert len(begun) <= 4
    results.close()
    assert len(begun) <= 4


def test_ahead_raises_an_error_in_its_turn() -> None:
    def half(i: int) -> float:
        return 1 / (i - 2)

    results = ahead(half, range(5), 5)
    assert [next(results), next(results)] == [-0.5, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_writers_results_are_taken_in_order_by_the_givers_thread() -> None:
    taken: list[tuple[int, bool]] = []
    main = threading.get_ident()
    with writers() as threads:
        for i in range(40):

            def task(i: int = i) -> int:
                time.sleep(0.002 if i % 3 == 0 else 0)
                return i

            threads.give(task, lambda i: taken.append((i, threading.get_ident() == main)), 1)
    assert taken == [(i, True) for i in range(40)]


def test_large_images_do_not_pile_up() -> None:
    waiting, most = 0, 0
    lock = threading.Lock()

    def begin() -> None:
        time.sleep(0.001)

    def end(_: None) -> None:
        nonlocal waiting
        with lock:
            waiting -= 1

    with writers() as threads:
        for _ in range(6):
            with lock:
                waiting += 1
                most = max(most, waiting)
            threads.give(begin, end, 50_000_000)
    assert most <= 2


def test_an_error_of_a_writer_arrives_and_stops_what_has_not_begun() -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), writers() as threads:
        threads.give(fail, done.append, 1)
        for i in range(100):
            threads.give(lambda: time.sleep(0.001), lambda _, i=i: done.append(i), 1)
    assert len(done) < 100


def test_there_is_always_a_worker() -> None:
    assert workers() >= 1
