"""Steps that are measured while other programs are busy."""

from __future__ import annotations

import pytest

from flexseg.planning.timing import MeasuredSteps, StepTime, least_disturbed

IDLE = MeasuredSteps([0.3, 0.2, 0.2], 0.05)
BUSY = MeasuredSteps([0.9, 0.8, 0.1], 0.6)
BUSIER = MeasuredSteps([1.2, 1.4, 1.6], 0.7)


@pytest.mark.parametrize(
    ("found", "best", "times"),
    [
        ([IDLE, BUSY], IDLE, 1),
        ([BUSY, IDLE], IDLE, 2),
        ([BUSIER, BUSY, BUSIER, IDLE], BUSY, 3),
    ],
)
def test_steps_are_measured_again_while_others_are_busy(
    found: list[MeasuredSteps], best: MeasuredSteps, times: int
) -> None:
    left = [*found]
    assert least_disturbed(lambda: left.pop(0)) is best
    assert len(found) - len(left) == times


def test_it_says_how_busy_the_machine_was() -> None:
    step = StepTime(0.8, 0.1, 0.2, 1.0, 8, 1000, BUSY.others)
    assert step.busy == "other programs took 60 % of the processor while this was measured"
    assert StepTime(0.2, 0.2, 0.1, 1.0, 8, 1000, IDLE.others).busy == ""
