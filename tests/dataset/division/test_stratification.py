"""Groups stay whole, shares are kept for every class, and the seed alone decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.dataset.division.stratification import folds, partition, swap_groups

SHARES = (0.7, 0.15, 0.15)


def none(count: int) -> NDArray[np.bool_]:
    """Presence of no class at all."""
    return np.zeros((count, 0), bool)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 25), st.booleans(), st.booleans()), min_size=1, max_size=80),
    st.integers(0, 50),
    st.sampled_from([SHARES, (0.5, 0.5), (0.8, 0.2, 0.0), (1.0, 0.0)]),
)
def test_groups_stay_whole_and_no_part_is_empty(
    cases: list[tuple[int, bool, bool]], seed: int, shares: tuple[float, ...]
) -> None:
    groups = [f"g{g}" for g, _, _ in cases]
    presence = np.array([c[1:] for c in cases], bool)
    part_of = partition(groups, presence, shares, seed)
    assert len({(g, p) for g, p in zip(groups, part_of.tolist(), strict=True)}) == len(set(groups))
    used = [s for s in shares if s > 0]
    assert set(part_of.tolist()) <= {i for i, s in enumerate(shares) if s > 0}
    if len(set(groups)) >= len(used):
        assert len(set(part_of.tolist())) == len(used)


def test_known_answer() -> None:
    """20 cases, 10 with class A, 4 with B: halves get 10, 5 and 2."""
    presence = np.zeros((20, 2), bool)
    presence[:10, 0] = True
    presence[8:12, 1] = True
    part_of = partition([str(i) for i in range(20)], presence, (0.5, 0.5), 0)
    for part in (0, 1):
        assert presence[part_of == part].sum(axis=0).tolist() == [5, 2]
        assert (part_of == part).sum() == 10


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1, 7])
def test_every_class_has_its_share(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    presence = rng.random((700, 4)) < [0.6, 0.2, 0.05, 0.03]
    groups = [f"p{i // size}" for i in range(700)]
    part_of = partition(groups, presence, SHARES, seed)
    for part, share in enumerate(SHARES):
        inside = part_of == part
        assert abs(inside.mean() - share) < 0.03
        wanted = share * presence.sum(axis=0)
        allowed = np.maximum(2, 0.04 * presence.sum(axis=0))
        assert (np.abs(presence[inside].sum(axis=0) - wanted) <= allowed).all()


def test_a_class_in_few_groups_is_in_every_part() -> None:
    """A plain random split misses such a class in valid or test in most seeds."""
    presence = np.zeros((100, 1), bool)
    presence[:6] = True
    groups = [str(i) for i in range(100)]
    for seed in range(20):
        part_of = partition(groups, presence, (0.6, 0.2, 0.2), seed)
        assert set(part_of[:6].tolist()) == {0, 1, 2}


def test_cases_without_class_are_spread_too() -> None:
    presence = np.arange(100)[:, None] < 80
    part_of = partition([str(i) for i in range(100)], presence, (0.5, 0.5), 3)
    assert (part_of[80:] == 0).sum() == 10


def test_the_seed_decides_and_the_order_does_not() -> None:
    groups = [str(i) for i in range(60)]
    once = dict(zip(groups, partition(groups, none(60), SHARES, 1).tolist(), strict=True))
    turned = dict(
        zip(groups[::-1], partition(groups[::-1], none(60), SHARES, 1).tolist(), strict=True)
    )
    other = dict(zip(groups, partition(groups, none(60), SHARES, 2).tolist(), strict=True))
    assert once == turned
    assert once != other


def test_fewer_groups_than_parts() -> None:
    assert partition(["a", "a"], none(2), SHARES, 0).tolist() == [0, 0]


def test_folds_are_even() -> None:
    rng = np.random.default_rng(0)
    presence = rng.random((100, 2)) < [0.5, 0.1]
    fold_of = folds([str(i) for i in range(100)], presence, 5, 0)
    assert np.bincount(fold_of).tolist() == [20] * 5
    rare = [int(presence[fold_of == fold, 1].sum()) for fold in range(5)]
    assert max(rare) - min(rare) <= 1


def _shown(part_of: np.ndarray, presence: np.ndarray, part: int) -> set[int]:
    return set(np.flatnonzero(presence[part_of == part].any(axis=0)).tolist())


def test_a_part_gets_what_another_one_can_spare() -> None:
    presence = np.array([[1], [1], [0], [0], [1], [0]], bool)
    part_of = swap_groups(np.array([0, 0, 0, 0, 1, 2]), list("abcdef"), presence)
    assert [int((part_of == part).sum()) for part in range(3)] == [4, 1, 1]
    assert all(_shown(part_of, presence, part) == {0} for part in range(3))


def test_what_no_part_can_spare_stays() -> None:
    presence = np.array([[1], [0], [1], [0]], bool)
    before = np.array([0, 0, 1, 2])
    assert (swap_groups(before, list("abcd"), presence) == before).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.lists(st.booleans(), min_size=3, max_size=3))))
def test_groups_stay_together_and_no_part_loses_a_class(
    cases: list[tuple[int, list[bool]]],
) -> None:
    cases = [*cases, *((number, [False] * 3) for number in range(3))]
    groups = [str(number) for number, _ in cases]
    presence = np.array([shown for _, shown in cases])
    before = np.array([number % 3 for number, _ in cases])
    after = swap_groups(before, groups, presence)
    assert {*after.tolist()} == {0, 1, 2}
    assert len({*zip(groups, after.tolist(), strict=True)}) == len({*groups})
    for part in range(3):
        assert _shown(before, presence, part) <= _shown(after, presence, part)
