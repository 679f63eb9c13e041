"""The comparison of the regression guard; its times are measured by hand, never here."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RATIOS = st.floats(0.01, 100)


@pytest.fixture(scope="module")
def guard() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        return importlib.import_module("guard")


@pytest.mark.parametrize(
    ("measured", "fell"), [(2.0, False), (3.0, False), (1.71, False), (1.69, True), (0.1, True)]
)
def test_more_than_15_percent_below_the_record_falls(guard, measured, fell):
    (verdict,) = guard.compare({"step": 2.0}, {"step": measured})
    assert verdict.fell is fell
    assert ("FELL" in str(verdict)) is fell


def test_what_is_not_recorded_or_not_measured_is_told_and_passes(guard):
    new, missing = guard.compare({"torch": 1.5}, {"new": 1.0, "torch": None})
    assert not new.fell and "not recorded" in str(new)
    assert not missing.fell and "not measured" in str(missing)


@given(recorded=RATIOS, measured=RATIOS, tolerance=st.floats(0, 0.9))
def test_a_better_ratio_never_falls_and_a_worse_one_not_later(guard, recorded, measured, tolerance):
    def fell(value: float) -> bool:
        return guard.compare({"a": recorded}, {"a": value}, tolerance)[0].fell

    assert not fell(max(recorded, measured))
    assert fell(measured / 2) or not fell(measured)


def test_ratio_is_that_of_medians_in_turn(guard):
    order: list[str] = []
    ours, other = iter([1.0, 50.0, 1.0]), iter([2.0, 2.0, 90.0])

    def take(name, values):
        order.append(name)
        return next(values)

    ratio = guard.in_turn(lambda: take("ours", ours), lambda: take("other", other), 3)
    assert ratio == 2.0
    assert order == ["ours", "other"] * 3


def test_the_record_names_known_benchmarks_and_its_machine(guard):
    record = guard.read_record()
    assert record["ratios"].keys() <= guard.BENCHMARKS.keys()
    assert all(ratio > 0 for ratio in record["ratios"].values())
    assert {"cpu", "cores"} <= record["machine"].keys()
