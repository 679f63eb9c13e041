"""New divisions: nothing is lost, groups stay whole, training has every class."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.dataset.cases import Case
from flexseg.dataset.division.dividing import CaseTable, divide_cases, nested_cases
from flexseg.dataset.division.splits import SplitName
from flexseg.errors import DataError

SHARES: dict[SplitName, float] = {"train": 0.7, "valid": 0.15, "test": 0.15}


def table(cases: list[Case], presence: NDArray[np.bool_], digests: list[str]) -> CaseTable:
    classes = tuple(f"class {i}" for i in range(presence.shape[1]))
    return CaseTable(tuple(cases), presence, tuple(digests), classes)


def make_cases(groups: list[int]) -> list[Case]:
    return [
        Case(f"c{i}", Path(f"c{i}.png"), Path(f"m{i}.png"), f"g{group}")
        for i, group in enumerate(groups)
    ]


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.lists(st.booleans(), min_size=3, max_size=3)),
        min_size=3,
        max_size=40,
    ),
    st.integers(1, 40),
)
def test_every_division(rows: list[tuple[int, list[bool]]], images: int) -> None:
    cases = make_cases([group for group, _ in rows])
    presence = np.array([shown for _, shown in rows])
    digests = {case.id: str(i % images) for i, case in enumerate(cases)}
    try:
        parts = divide_cases(table(cases, presence, list(digests.values())), SHARES)
    except DataError:
        return  # fewer than three groups
    assert list(parts) == ["train", "valid", "test"]
    assert all(parts.values())
    assert sorted(case.id for own in parts.values() for case in own) == sorted(digests)
    for what in (lambda case: case.group, lambda case: digests[case.id]):
        sides = [{what(case) for case in own} for own in parts.values()]
        assert len(set.union(*sides)) == sum(map(len, sides))


@settings(max_examples=20)
@given(st.integers(5, 30), st.integers(1, 3), st.data())
def test_training_has_every_class(count: int, classes: int, data: st.DataObject) -> None:
    """Classes 2 and 3 are in one case each."""
    cases = make_cases(list(range(count)))
    presence = np.zeros((count, classes), bool)
    presence[:, 0] = True
    for column in range(1, classes):
        presence[data.draw(st.integers(0, count - 1)), column] = True
    parts = divide_cases(table(cases, presence, [c.id for c in cases]), SHARES)
    inside = [int(case.id[1:]) for case in parts["train"]]
    assert presence[inside].any(axis=0).all()
    assert all(parts.values())


def test_shares_are_kept() -> None:
    cases = make_cases(list(range(200)))
    presence = np.ones((200, 1), bool)
    parts = divide_cases(table(cases, presence, [c.id for c in cases]), SHARES)
    assert [len(own) for own in parts.values()] == [140, 30, 30]


def test_too_few_groups() -> None:
    cases = make_cases([0, 0, 1, 1])
    with pytest.raises(DataError, match=r"4 cases of 2 groups cannot be divided into train, v"):
        divide_cases(table(cases, np.ones((4, 1), bool), [c.id for c in cases]), SHARES)


def test_nested_parts_keep_groups_and_classes() -> None:
    cases = make_cases([i // 2 for i in range(40)])
    presence = np.zeros((40, 2), bool)
    presence[:, 0] = True
    presence[4:8, 1] = True  # a rare class, of two groups
    whole = table(cases, presence, [""] * 40)
    parts = nested_cases(whole, [1.0, 0.5, 0.25, 0.1], seed=3)
    assert [len(part) for part in parts[:3]] == [40, 20, 10]
    assert len(parts[3]) <= 6  # the rare class is there
    for outer, inner in pairwise(parts):
        assert set(inner) < set(outer)
        groups = {c.group for c in inner}
        assert all((c.group in groups) == (c in inner) for c in outer)
    assert all(any(presence[cases.index(c), 1] for c in part) for part in parts)
    assert nested_cases(whole, [1.0, 0.5], seed=4)[1] != parts[1]
