"""The grade of a class by its figures."""

from __future__ import annotations

from typing import Any

import pytest

from flexseg.evaluation.aggregate import Statistic
from flexseg.evaluation.metrics.verdict import Evidence, Grade, verdict


def _grade(dice: float = 0.9, half: float = 0.03, **changes: Any) -> tuple[Grade, str]:
    """Of a class of 40 cases that is good, but for some figures."""
    figures: dict[str, Any] = {
        "dice": Statistic(dice, (dice - half, dice + half)),
        "cases": "cases",
        "present": 40,
        "missed": 0,
        "absent": 20,
        "marked": 0,
        "groups": 40,
        "predicted_objects": 100,
        "false_objects": 10,
        "objects": 100,
        "found_objects": 90,
    }
    found = verdict(1, "cell", Evidence(**figures | changes))
    return found.grade, found.why


def test_good() -> None:
    assert _grade() == ("good", "Dice 0.900 (95 % interval 0.870 to 0.930).")


@pytest.mark.parametrize(
    ("changes", "grade", "why"),
    [
        ({"half": 0.11}, "usable with checking", "may be below 0.8"),
        ({"dice": 0.7}, "usable with checking", "below 0.8"),
        ({"dice": 0.49}, "failed", "below 0.5, more is wrong than right"),
        ({"dice": 0.01, "half": 0.005}, "failed", "below 0.5, more is wrong than right"),
        ({"missed": 2}, "good", ""),
        ({"missed": 3}, "usable with checking", "missed altogether in 3 of 40 cases"),
        ({"missed": 11}, "failed", "missed altogether in 11 of 40 cases"),
        ({"marked": 2}, "usable with checking", "marked where it is absent, in 2 of 20 cases"),
        ({"marked": 11}, "failed", "marked where it is absent, in 11 of 20 cases"),
        (
            {"marked": 1, "absent": 1},
            "usable with checking",
            "marked where it is absent, in 1 of 1 case",
        ),
        (
            {"false_objects": 90},
            "usable with checking",
            "90 of 100 predicted objects match none of the reference",
        ),
        (
            {"dice": 0.55, "false_objects": 90, "found_objects": 10},
            "failed",
            "10 of 100 objects found; 90 of 100 predicted objects match none of the reference; "
            "below 0.8",
        ),
        (
            {"dice": 0.7, "false_objects": 90, "found_objects": 10},
            "usable with checking",
            "below 0.8; 90 of 100 predicted objects match none of the reference",
        ),
        (
            {"dice": 0.55, "false_objects": 90, "found_objects": 30},
            "usable with checking",
            "below 0.8; 90 of 100 predicted objects match none of the reference",
        ),
        ({"groups": 9}, "usable with checking", "only 9 independent cases"),
        ({"groups": 1}, "usable with checking", "only 1 independent case"),
    ],
)
def test_what_costs_a_grade(changes: dict[str, Any], grade: Grade, why: str) -> None:
    found, told = _grade(**changes)
    assert (found, told.removesuffix(".").partition("; ")[2]) == (grade, why)


def test_all_reasons_are_told_those_of_failure_first() -> None:
    grade, why = _grade(dice=0.4, missed=4, groups=3)
    assert grade == "failed"
    assert why.index("below 0.5") < why.index("missed altogether") < why.index("only 3")


def test_without_interval_the_mean_counts() -> None:
    found = verdict(1, "cell", Evidence(Statistic(0.9), "cases", 1, 0, 0, 0, 1))
    assert (found.grade, found.dice) == ("usable with checking", "Dice 0.900")


def test_a_class_of_no_reference_is_not_tested() -> None:
    found = verdict(1, "cell", Evidence(Statistic(), "cases", 0, 0, 9, 2, 0))
    assert found.grade == "not tested"
    assert found.why == "No reference of these cases contains it; marked in 2 of 9 without it."
