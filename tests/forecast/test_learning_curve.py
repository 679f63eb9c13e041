"""Learning curves of known shape: what is forecast, and how often its interval holds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from flexseg.forecast.learning_curve import LearningCurve, Point, Range

SIZES = (12, 25, 50, 100)
STEPS = 1000.0


def curve_of(*errors: float, cases: int = 20) -> LearningCurve:
    """Of trainings of `SIZES`, all cases of which have one error."""
    points = [Point(n, STEPS) for n in SIZES[: len(errors)]]
    return LearningCurve.fit(points, np.repeat(np.array(errors)[:, None], cases, axis=1))


def test_a_power_law_goes_on() -> None:
    errors = [0.2 * (n / 12) ** -0.5 for n in SIZES]
    curve = curve_of(*errors)
    forecast = 1 - curve.dice_of_one(Point(200, STEPS)).median
    assert forecast == pytest.approx(0.2 * (200 / 12) ** -0.5, rel=0.07)
    assert curve.dice(Point(100, STEPS)).median == pytest.approx(1 - errors[-1], abs=0.004)
    assert curve.gain(Point(200, STEPS), Point(100, STEPS)).low > 0.005


def test_where_nothing_is_gained_little_is_forecast() -> None:
    gain = curve_of(0.1, 0.1, 0.1, 0.1).gain(Point(200, STEPS), Point(100, STEPS))
    assert gain.low >= 0 and gain.median < 0.005 and gain.high < 0.02


def test_errors_stay_below_1_and_more_never_harms() -> None:
    curve = curve_of(0.97, 0.96, 0.93, 0.9)
    for at in (Point(1, STEPS), Point(10_000, STEPS)):
        one = curve.dice_of_one(at)
        assert 0 <= one.low <= one.median <= one.high <= 1
    assert (curve.gain_draws(Point(140, STEPS), Point(100, STEPS)) >= 0).all()


def test_cases_and_steps_are_told_apart() -> None:
    points = [Point(n, s) for n, s in ((25, 400), (50, 400), (100, 400), (100, 200), (100, 100))]
    by_steps = np.array([0.10, 0.10, 0.10, 0.14, 0.20])
    curve = LearningCurve.fit(points, np.repeat(by_steps[:, None], 20, axis=1))
    now = Point(100, 400)
    cases, steps = curve.gain(Point(200, 400), now), curve.gain(Point(100, 1600), now)
    assert cases.median < 0.01 and steps.low > 0.02
    by_cases = np.array([0.2, 0.14, 0.1, 0.1, 0.1])
    curve = LearningCurve.fit(points, np.repeat(by_cases[:, None], 20, axis=1))
    cases, steps = curve.gain(Point(200, 400), now), curve.gain(Point(100, 1600), now)
    assert cases.low > 0.01 and steps.median < 0.015


def test_what_did_not_vary_is_not_forecast() -> None:
    curve = curve_of(0.3, 0.2, 0.15, 0.1)
    assert not curve.gain_draws(Point(100, 4 * STEPS), Point(100, STEPS)).any()


def test_few_cases_and_trainings_give_wide_intervals() -> None:
    errors = np.random.default_rng(0).uniform(0.02, 0.4, (2, 6))
    points = [Point(50, STEPS), Point(100, STEPS)]

    def width(found: Range) -> float:
        return found.high - found.low

    once = LearningCurve.fit(points, errors).dice(points[-1])
    many_cases = LearningCurve.fit(points, np.tile(errors, 10)).dice(points[-1])
    assert width(once) > 1.2 * width(many_cases)
    four_times = LearningCurve.fit(points * 4, np.tile(errors, (4, 10))).dice(points[-1])
    assert width(many_cases) > 1.2 * width(four_times)


def test_cases_without_an_error_do_not_count_and_trainings_need_one() -> None:
    errors = np.full((4, 9), np.nan)
    errors[:, :6] = np.array([0.4, 0.3, 0.2, 0.1])[:, None]
    points = [Point(n, STEPS) for n in SIZES]
    assert LearningCurve.fit(points, errors).dice(points[-1]).median == pytest.approx(0.9, abs=0.02)
    errors[1] = np.nan
    with pytest.raises(ValueError, match="needs an error"):
        LearningCurve.fit(points, errors)
    with pytest.raises(ValueError, match="needs an error"):
        LearningCurve.fit([], np.zeros((0, 3)))


def simulated(rng: np.random.Generator) -> tuple[NDArray[np.float64], float, float]:
    """Errors [sizes, cases] of a random curve, the error of a training on 200, the true gain."""
    asymptote = rng.uniform(0, 0.9) * rng.integers(2)
    exponent, level = rng.uniform(0.15, 1.0), np.exp(rng.uniform(np.log(0.03), np.log(0.4)))
    noise = rng.uniform(0.03, 0.15)
    cases = rng.normal(0, 0.7, 40)  # some are difficult in every training

    def mean(n: float) -> float:
        return min(0.98, level * (asymptote + (1 - asymptote) * (n / 100) ** -exponent))

    def trained(n: float) -> float:
        spread = noise * np.sqrt(0.5 + 0.5 / np.sqrt(n / 100))
        return float(expit(logit(mean(n)) + spread * rng.standard_normal()))

    own = [np.exp(cases + rng.normal(0, 0.15, 40)) for _ in SIZES]
    errors = np.array([trained(n) * each for n, each in zip(SIZES, own, strict=True)])
    return (
        np.clip(errors / np.exp((0.7**2 + 0.15**2) / 2), 0, 1),
        trained(200),
        mean(100) - mean(200),
    )


def test_intervals_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    inside = []
    for seed in range(40):
        errors, later, gain = simulated(rng)
        curve = LearningCurve.fit([Point(n, STEPS) for n in SIZES], errors, seed)
        one = curve.dice_of_one(Point(200, STEPS))
        told = curve.gain(Point(200, STEPS), Point(100, STEPS))
        inside += [one.low <= 1 - later <= one.high, told.low <= gain <= told.high]
    assert np.mean(inside) >= 0.85
