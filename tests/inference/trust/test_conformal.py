"""Expected quality: intervals that hold, flags that follow from them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flexseg.inference.trust.conformal import FEWEST, ClassCalibration, Trust, worst
from flexseg.inference.trust.signal import Members, Signal


def _cases(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Signals and the Dice that goes with them, of cases that are worse where they are unsure."""
    rng = np.random.default_rng(seed)
    signals = rng.uniform(0.5, 1, count)
    dice = np.clip(signals - 0.05 + rng.normal(0, 0.3, count) * (1.02 - signals), 0, 1)
    return signals, dice, [f"{seed}_{i}" for i in range(count)]


def _calibration(count: int, seed: int = 0) -> ClassCalibration:
    signals, dice, groups = _cases(count, seed)
    return ClassCalibration.of(signals, dice, np.ones(count, bool), groups)


def test_nine_of_ten_new_cases_lie_in_the_interval() -> None:
    inside = []
    for seed in range(30):
        calibration = _calibration(40, seed)
        signals, dice, _ = _cases(40, 1000 + seed)
        for signal, true in zip(signals, dice, strict=True):
            found = calibration.statement(float(signal), predicted=True)
            assert found.low is not None and found.high is not None
            inside.append(found.low <= true <= found.high)
    assert 0.87 < np.mean(inside) < 0.95


def test_few_cases_give_no_interval_and_no_green() -> None:
    assert FEWEST == 9
    few, enough = _calibration(8), _calibration(9)
    assert few.radius is None and enough.radius is not None
    found = few.statement(1.0, predicted=True)
    assert found.dice is not None and found.low is None and found.flag == "yellow"
    nothing = _calibration(2).statement(1.0, predicted=True)
    assert nothing.dice is None and nothing.flag == "yellow"


def test_flags() -> None:
    calibration = ClassCalibration(1.0, 0.0, 1.0, 50, 20, 1)
    found = [calibration.statement(s, predicted=True) for s in (0.95, 0.88, 0.49)]
    assert [one.flag for one in found] == ["green", "yellow", "red"]
    assert (found[0].low, found[0].high) == pytest.approx((0.9, 1.0))
    assert calibration.statement(0.0, predicted=False).flag == "green"
    assert worst(["green", "red", "yellow"]) == "red" and worst([]) is None


@pytest.mark.parametrize(
    ("absent", "missed", "flag"), [(0, 0, "red"), (4, 1, "yellow"), (4, 3, "red"), (10, 1, "green")]
)
def test_a_class_that_is_not_predicted(absent: int, missed: int, flag: str) -> None:
    found = ClassCalibration(1, 0, 0.1, 30, absent, missed).statement(0.0, predicted=False)
    assert found.dice is None and found.flag == flag


def test_stored_and_read_again() -> None:
    trust = Trust({2: {1: _calibration(20), 2: _calibration(5)}}, True, 0.4, 1.3)
    again = Trust.from_dict(json.loads(json.dumps(trust.as_dict())))
    assert again == trust
    for damage in ({"temperature": 0}, {"quality": {"2d": {"1": {}}}}, {"threshold": None}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Trust.from_dict(trust.as_dict() | damage)


def test_a_calibration_of_another_signal_says_nothing() -> None:
    trust = Trust({2: {1: _calibration(20)}}, temperature=1.3)
    other = {key: value for key, value in trust.as_dict().items() if key != "signal"}
    assert Trust.from_dict(other) == Trust(temperature=1.3)


def test_sure_and_agreed_predictions_have_a_signal_of_one() -> None:
    p = np.zeros((1, 4, 4, 1), np.float32)
    p[0, :2] = 1
    members = Members(0.5)
    members.see(p, own=True)
    members.see(p)
    (signal,) = members.signals()
    assert signal.values(members=True) == pytest.approx([1])


def test_agreement_is_the_pairwise_dice_of_the_members() -> None:
    rng = np.random.default_rng(0)
    answers = rng.dirichlet((1, 1, 1), (3, 2, 6, 6)).astype(np.float32)
    members = Members(0.5)
    for number, p in enumerate(answers):
        members.see(p, own=number == 0)
    labels = answers.argmax(axis=-1)
    for image, signal in enumerate(members.signals()):
        sure = signal.values(members=False)
        both = signal.values(members=True)
        for c in (1, 2):
            masks = labels[:, image] == c
            pairs = [(0, 1), (0, 2), (1, 2)]
            common = sum(2 * (masks[a] & masks[b]).sum() for a, b in pairs)
            sizes = sum(masks[a].sum() + masks[b].sum() for a, b in pairs)
            expected = answers[0, image, ..., c][masks[0]].mean()
            assert sure[c - 1] == pytest.approx(expected, rel=1e-5)
            assert both[c - 1] == pytest.approx((expected + common / sizes) / 2, rel=1e-5)


def test_signals_of_parts_add_up() -> None:
    a = Signal(np.array([[4.0, 5, 10, 8]]), 2)
    whole = a + a
    assert whole.values(members=True) == pytest.approx(a.values(members=True))
    assert Signal(np.zeros((1, 4)), 3).values(members=True) == 0
