"""The learning rate over a training."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.training.callbacks.schedule import ScheduleName, factor

NAMES: list[ScheduleName] = ["constant", "polynomial", "cosine"]


@pytest.mark.parametrize(
    ("name", "share", "expected"),
    [
        ("constant", 0.7, 1.0),
        ("polynomial", 0.0, 1.0),
        ("polynomial", 0.5, 0.5**0.9),
        ("polynomial", 1.0, 0.0),
        ("cosine", 0.0, 1.0),
        ("cosine", 0.5, 0.5),
        ("cosine", 1.0, 0.0),
    ],
)
def test_known_values(name: ScheduleName, share: float, expected: float) -> None:
    assert factor(name, share) == pytest.approx(expected)


def test_warm_up_rises_to_the_full_rate_and_the_rest_falls_from_there() -> None:
    rates = [factor("cosine", share, warmup=0.2) for share in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert rates == pytest.approx([0.04, 0.52, 1.0, 0.5, 0.0])


def test_cycles_repeat_the_course() -> None:
    assert factor("cosine", 0.25, cycles=2) == pytest.approx(0.5)
    assert factor("cosine", 0.5, cycles=2) == pytest.approx(1.0)
    assert factor("cosine", 1.0, cycles=2) == pytest.approx(0.0)


@given(
    st.sampled_from(NAMES),
    st.floats(-1, 2),
    st.floats(0, 0.99),
    st.integers(1, 5),
)
def test_is_always_a_share(name: ScheduleName, share: float, warmup: float, cycles: int) -> None:
    assert 0 <= factor(name, share, warmup, cycles) <= 1
