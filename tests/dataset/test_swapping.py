"""Groups that change places, so that every part shows every class."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flexseg.dataset.swapping import exchange_groups


def _shown(part_of: np.ndarray, presence: np.ndarray, part: int) -> set[int]:
    return set(np.flatnonzero(presence[part_of == part].any(axis=0)).tolist())


def test_a_part_gets_what_another_one_can_spare() -> None:
    presence = np.array([[1], [1], [0], [0], [1], [0]], bool)
    part_of = exchange_groups(np.array([0, 0, 0, 0, 1, 2]), list("abcdef"), presence)
    assert [int((part_of == part).sum()) for part in range(3)] == [4, 1, 1]
    assert all(_shown(part_of, presence, part) == {0} for part in range(3))


def test_what_no_part_can_spare_stays() -> None:
    presence = np.array([[1], [0], [1], [0]], bool)
    before = np.array([0, 0, 1, 2])
    assert (exchange_groups(before, list("abcd"), presence) == before).all()


@given(st.lists(st.tuples(st.integers(0, 5), st.lists(st.booleans(), min_size=3, max_size=3))))
def test_groups_stay_together_and_no_part_loses_a_class(
    cases: list[tuple[int, list[bool]]],
) -> None:
    cases = [*cases, *((number, [False] * 3) for number in range(3))]
    groups = [str(number) for number, _ in cases]
    presence = np.array([shown for _, shown in cases])
    before = np.array([number % 3 for number, _ in cases])
    after = exchange_groups(before, groups, presence)
    assert {*after.tolist()} == {0, 1, 2}
    assert len({*zip(groups, after.tolist(), strict=True)}) == len({*groups})
    for part in range(3):
        assert _shown(before, presence, part) <= _shown(after, presence, part)
