"""The loop that gives items to workers: order, patience with those that die, and memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flexseg.errors import DataError, ResourceError
from flexseg.execution.mapping import (
    Chunk,
    Ended,
    Message,
    WorkerTraceback,
    in_chunks,
    mapped,
    one_by_one,
)
from mapped_work import Pretended, squares

pytestmark = pytest.mark.usefixtures("own_log")


def results_of(items: list[Any], workers: Pretended, together: int = 1) -> dict[int, Any]:
    """Item's number -> its result, each once."""
    found: dict[int, Any] = {}
    for chunk, results in mapped(squares, in_chunks(items, together), workers):
        for number, result in zip(chunk.numbers, results, strict=True):
            assert number not in found
            found[number] = result
    assert workers.closed
    return found


@pytest.mark.parametrize("count", [1, 3, 20])
def test_all_results(count: int) -> None:
    found = results_of([*range(10)], Pretended(count), together=3)
    assert found == {i: i * i for i in range(10)}
    assert results_of([], Pretended(count)) == {}


def test_few_chunks_are_taken_before_their_turn() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield i

    workers = Pretended(3)
    for done, _ in enumerate(mapped(squares, in_chunks(items()), workers), start=1):
        assert taken <= done + 6
    assert (taken, workers.most) == (1000, 2)


def test_chunks_are_cut_at_the_same_places_whatever_is_done() -> None:
    def cut(done: set[int]) -> list[tuple[int, ...]]:
        chunks = in_chunks(range(11), 2, 2, lambda block: {n for n, _ in block} <= done)
        return [chunk.numbers for chunk in chunks]

    assert cut(set()) == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10)]
    # Of a block that is done in part all is done again.
    assert cut({2, 3, 4}) == [(0, 1, 4, 5), (6, 7, 8, 9), (10,)]
    assert cut({*range(11)}) == []


def test_where_no_second_one_can_begin_the_first_goes_on() -> None:
    """Nor is it tried for ever; but it is when the first one dies as well."""
    workers = Pretended(2, deaths={7: 1}, dies_early=(1, 2, 3))
    assert results_of([*range(10)], workers) == {i: i * i for i in range(10)}
    assert workers.starts == 6


class LosingAnswers(Pretended):
    """Workers whose death keeps the answers from arriving that they have just sent."""

    def receive(self) -> Message:
        for worker in [*self._answers] if not self._messages else []:
            lying = [item for items in self._lying[worker] for item in items]
            if any(self.deaths.get(item) for item in lying):
                del self._answers[worker]
                return Ended(worker, "killed by SIGKILL")
        return super().receive()


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_item_is_not_blamed_for_the_next_one(count: int, together: int) -> None:
    found = results_of([*range(10)], LosingAnswers(count, deaths={5: 1, 6: 1}), together)
    assert isinstance(found.pop(5), DataError)
    assert isinstance(found.pop(6), DataError)
    assert found == {i: i * i for i in range(10) if i not in (5, 6)}


def test_what_is_wrong_with_an_item_is_its_own() -> None:
    found = results_of([1, "wrong", 3], Pretended(2), together=3)
    assert (found[0], found[2]) == (1, 9)
    assert str(found[1]) == "wrong: It is wrong. Mend it."

    def halved(item: int) -> int:
        if item % 2:
            raise DataError("It is odd.", "Give another.")
        return item // 2

    first, second = one_by_one(halved)([4, 5])
    assert first == 2 and isinstance(second, DataError)


def test_other_errors_end_all_with_the_place_in_the_worker() -> None:
    workers = Pretended(2)
    with pytest.raises(ZeroDivisionError, match="by nothing") as caught:
        results_of([1, "error", 3, 4], workers)
    assert workers.closed
    assert isinstance(caught.value.__cause__, WorkerTraceback)
    assert "in of_all" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match="_OddError: very odd"):
        results_of(["odd error"], Pretended(1))


def test_workers_that_die_are_replaced() -> None:
    """By accident, twice: nothing is lost, and nobody is blamed."""
    workers = Pretended(2, deaths={3: 1, 7: 1}, dies_early=(0, 1))
    assert results_of([*range(10)], workers, together=2) == {i: i * i for i in range(10)}


@pytest.mark.parametrize("together", [1, 4])
def test_an_item_that_kills_fails_alone(together: int) -> None:
    workers = Pretended(2, deaths={5: 100})
    found = results_of([*range(12)], workers, together)
    assert 100 - workers.deaths[5] == (3 if together == 1 else 4)
    failed = found.pop(5)
    assert isinstance(failed, DataError)
    assert "has ended 3 times (killed by SIGKILL)" in failed.problem
    assert found == {i: i * i for i in range(12) if i != 5}


def test_workers_that_cannot_begin_end_all() -> None:
    workers = Pretended(2, dies_early=(0, 1, 2))
    with pytest.raises(ResourceError, match=r"before they have begun \(no room\)"):
        results_of([1, 2, 3], workers)
    assert workers.closed


def test_a_chunk_knows_its_items() -> None:
    assert next(in_chunks("ab", 2)) == Chunk((0, 1), ("a", "b"))
