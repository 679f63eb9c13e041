"""A new model is taken unless it is worse, judged on cases that both have in common."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.learning.acceptance import MARGIN, accept

CASES = [f"c{i}" for i in range(12)]
GROUPS = {case: case for case in CASES}


def scores(value: float, spread: float = 0.0) -> dict[str, float]:
    rng = np.random.default_rng(0)
    return {case: float(value + spread * rng.normal()) for case in CASES}


@pytest.mark.parametrize(
    ("old", "new", "taken"), [(0.8, 0.9, True), (0.8, 0.8, True), (0.9, 0.8, False)]
)
def test_the_better_one(old: float, new: float, taken: bool) -> None:
    found = accept(scores(old), scores(new), GROUPS)
    assert found.taken is taken and found.cases == 12
    assert found.difference == pytest.approx(new - old)
    assert found.reason.startswith("Not worse" if taken else "Worse")


def test_hardly_lower_for_certain_is_not_worse() -> None:
    lower = accept(scores(0.8), scores(0.8 - MARGIN / 2), GROUPS)
    assert lower.taken and lower.reason.startswith("Not worse by more than 0.01 on 12 ")
    old = scores(0.8, 0.05)
    new = {case: value - 0.005 + (0.1 if i % 2 else -0.1) for i, (case, value) in
           enumerate(old.items())}  # fmt: skip
    assert not accept(old, new, GROUPS).taken


def test_cases_that_show_nothing_do_not_count() -> None:
    old, new = scores(0.5), scores(0.6) | {"c0": float("nan")}
    assert accept(old, new, GROUPS).cases == 11
    nothing = accept({}, {}, {})
    assert not nothing.taken and "No case" in nothing.reason


def test_one_group_says_nothing_of_the_interval() -> None:
    found = accept(scores(0.8), scores(0.79), dict.fromkeys(CASES, "patient"))
    assert found.low is None and not found.taken


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(-0.3, 0.3))
def test_the_interval_holds_the_difference(values: list[float], shift: float) -> None:
    old = dict(zip(CASES, values, strict=False))
    new = {case: value + shift for case, value in old.items()}
    found = accept(old, new, GROUPS)
    assert found.difference == pytest.approx(shift, abs=1e-9)
    assert found.low is not None and found.high is not None
    assert found.low - 1e-9 <= shift <= found.high + 1e-9
    assert found.taken == (shift >= 0 or shift > -MARGIN) or abs(shift + MARGIN) < 1e-9
