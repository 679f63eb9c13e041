"""A learning curve from a few short trainings, and what it forecasts.

The odds of the error (1 - Dice) are a constant that neither cases nor steps remove, a power law of
the number of training cases and one of the number of steps:

    error / (1 - error) = level (a + b (n / n0)^-c + d (s / s0)^-e),   a + b + d = 1

so that errors stay below 1. Few points fit many such curves: what is kept is an ensemble of them,
weighted by how well they fit (importance sampling from the prior), for each of many bootstrap
samples of the validation cases. A quarter of the prior has no constant (a = 0), and only a quarter,
as masks are never without errors. Exponents are around 1/2, nine of ten between 0.13 and 1.9. Level
and noise are integrated in closed form; the noise, between trainings of other cases and seeds, has
a prior of 10 % of the odds, as two or three trainings alone would tell too little of it.

References
----------
Hestness et al.: Deep learning scaling is predictable, empirically. arXiv 1712.00409, 2017.
Rosenfeld et al.: A constructive prediction of the generalization error across scales. ICLR 2020.
Viering, Loog: The shape of learning curves: a review. IEEE TPAMI 45(6), 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

Values = NDArray[np.float64]

# Curves of the prior, bootstrap samples of the cases, and curves kept of each.
_CURVES, _SAMPLES, _KEPT = 3000, 100, 40
_WITHOUT_CONSTANT = 0.25
# Median and standard deviation of the logarithm of an exponent, and its bounds.
_EXPONENT, _SPREAD, _BOUNDS = 0.5, 0.8, (0.03, 2.0)
# The noise of the log odds, and how many trainings this knowledge is worth.
_NOISE, _WORTH = 0.1, 4.0
# An error of 0 or 1 has no odds.
_LEAST = 1e-4
_QUANTILES = (5, 50, 95)


@dataclass(frozen=True)
class Range:
    """A median with the ends of its 90 % interval."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Values) -> Range:
        """Of draws from a distribution."""
        low, median, high = np.percentile(draws, _QUANTILES)
        return cls(float(median), float(low), float(high))


@dataclass(frozen=True)
class Point:
    """A training, by the number of its cases and of its steps."""

    cases: float
    steps: float


@dataclass(frozen=True)
class LearningCurve:
    """An ensemble of curves, each with as much weight as any other.

    Attributes
    ----------
    largest : cases and steps (n0, s0) that the curves are relative to.
    level : [curves] log odds of the error there.
    shares : [curves, 3] of it that are constant, of the cases and of the steps.
    exponents : [curves, 2] of cases and steps.
    noise : [curves] standard deviation of the log odds between trainings of as many cases.
    seed : of the noise of single trainings.
    """

    largest: Point
    level: Values
    shares: Values
    exponents: Values
    noise: Values
    seed: int

    @classmethod
    def fit(cls, points: list[Point], errors: Values, seed: int = 0) -> LearningCurve:
        """The curves that fit some trainings.

        Parameters
        ----------
        points : of the trainings.
        errors : [trainings, validation cases] 1 - Dice; NaN where a case has none. Cases that are
            not independent (of one patient) should be one.

        Raises
        ------
        ValueError : there is no training, or one without any error.
        """
        if not points or np.isnan(errors).all(axis=1).any():
            raise ValueError("each training needs an error")
        rng = np.random.default_rng(seed)
        cases, steps = (np.array([getattr(p, k) for p in points]) for k in ("cases", "steps"))
        largest = Point(float(cases.max()), float(steps.max()))
        shares, exponents = _prior(several(cases), several(steps), rng)
        shape = _shape(shares, exponents, cases / largest.cases, steps / largest.steps)
        weights = 1 / _variance(cases / largest.cases)
        kept = [_kept(_log_odds(errors, rng), shape, weights, rng) for _ in range(_SAMPLES)]
        chosen = np.concatenate([one[0] for one in kept])
        level, noise = (np.concatenate([one[i] for one in kept]) for i in (1, 2))
        return cls(largest, level, shares[chosen], exponents[chosen], noise, seed)

    def error_draws(self, at: Point) -> Values:
        """[curves] the error that trainings reach on average."""
        return np.asarray(expit(self._log_odds(at)))

    def dice(self, at: Point) -> Range:
        """The Dice that trainings reach on average."""
        return Range.of(1 - self.error_draws(at))

    def dice_of_one(self, at: Point) -> Range:
        """The Dice of a single training, which its seed and the choice of its cases change."""
        rng = np.random.default_rng((self.seed, 1))
        spread = self.noise * np.sqrt(_variance(np.array(at.cases / self.largest.cases)))
        odds = self._log_odds(at) + spread * rng.standard_normal(len(self.level))
        return Range.of(1 - np.asarray(expit(odds)))

    def gain_draws(self, at: Point, now: Point) -> Values:
        """[curves] how much Dice the one brings beyond the other."""
        return self.error_draws(now) - self.error_draws(at)

    def gain(self, at: Point, now: Point) -> Range:
        """How much Dice the one brings beyond the other, on average over trainings."""
        return Range.of(self.gain_draws(at, now))

    def _log_odds(self, at: Point) -> Values:
        cases, steps = at.cases / self.largest.cases, at.steps / self.largest.steps
        at_once = _shape(self.shares, self.exponents, np.array([cases]), np.array([steps]))
        return self.level + at_once[:, 0]


def several(values: Values) -> bool:
    """Whether numbers differ enough for a curve over them."""
    return bool(values.max() > 1.2 * values.min())


def _prior(by_cases: bool, by_steps: bool, rng: np.random.Generator) -> tuple[Values, Values]:
    """Shares [curves, 3] and exponents [curves, 2] of curves drawn from the prior."""
    draws = rng.random((_CURVES, 5))
    # The gaps between two sorted uniform numbers are uniform over all shares.
    first, second = np.sort(draws[:, :2], axis=1).T
    shares = np.stack([first, second - first, 1 - second], axis=1)
    shares *= [True, by_cases, by_steps]
    shares[draws[:, 2] < _WITHOUT_CONSTANT, 0] = 0.0
    if not (by_cases or by_steps):
        shares[:, 0] = 1.0
    shares /= shares.sum(axis=1, keepdims=True)
    exponents = np.exp(np.log(_EXPONENT) + _SPREAD * ndtri(draws[:, 3:]))
    return shares, np.clip(exponents, *_BOUNDS)


def _shape(shares: Values, exponents: Values, cases: Values, steps: Values) -> Values:
    """[curves, trainings] log odds of the error relative to those of the largest training."""
    by_cases = cases[None] ** -exponents[:, :1]
    by_steps = steps[None] ** -exponents[:, 1:]
    a, b, d = (shares[:, i : i + 1] for i in range(3))
    return np.asarray(np.log(a + b * by_cases + d * by_steps))


def _variance(cases: Values) -> Values:
    """Of the log odds, relative to that of a training on all cases.

    Half of it is of the seed, the other of which cases there are, and falls with their number.
    """
    return np.asarray(0.5 + 0.5 / np.sqrt(cases))


def _log_odds(errors: Values, rng: np.random.Generator) -> Values:
    """[trainings] of the mean error of as many cases as there are, drawn from them."""
    while True:
        drawn = errors[:, rng.integers(0, errors.shape[1], errors.shape[1])]
        if not np.isnan(drawn).all(axis=1).any():
            return np.asarray(logit(np.clip(np.nanmean(drawn, axis=1), _LEAST, 1 - _LEAST)))


def _kept(
    odds: Values, shape: Values, weights: Values, rng: np.random.Generator
) -> tuple[NDArray[np.intp], Values, Values]:
    """Curves drawn by how probable they are: their numbers, levels and noises."""
    levels = odds - shape
    mean = levels @ weights / weights.sum()
    squares = _WORTH * _NOISE**2 + (levels - mean[:, None]) ** 2 @ weights
    freedom = _WORTH + len(odds) - 1
    probable = -freedom / 2 * np.log(squares)
    probable = np.exp(probable - probable.max())
    chosen = rng.choice(len(shape), _KEPT, p=probable / probable.sum())
    noise = np.sqrt(squares[chosen] / rng.chisquare(freedom, _KEPT))
    level = mean[chosen] + noise * rng.standard_normal(_KEPT) / np.sqrt(weights.sum())
    return chosen, level, noise
