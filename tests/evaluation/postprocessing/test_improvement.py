"""What is kept, and how often chance alone is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.evaluation.postprocessing.improvement import (
    FEWEST,
    MARGIN,
    Counts,
    Trial,
    best_of,
    compare_scores,
    without_harm,
)

WHAT = ("2d", "lesion", "min_size", 5)


def _counts(dice: Any, reference: int = 1000) -> Counts:
    """Cases of a given Dice, whose prediction is as large as the reference."""
    dice = np.asarray(dice, float)
    size = np.full(len(dice), reference)
    return Counts(np.round(dice * reference).astype(int), size, size)


def _trial(before: Any, after: Any, groups: Any = None, values: int = 1) -> Trial:
    names = [str(g) for g in (range(len(before)) if groups is None else groups)]
    return compare_scores(WHAT, [_counts(before)], [_counts(after)], names, values)


def _noise(seed: int, cases: int = 30) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    before = rng.uniform(0.6, 0.9, cases)
    return before, np.clip(before + rng.normal(0, 0.05, cases), 0, 1)


class TestScore:
    def test_dice_and_empty_cases(self) -> None:
        c = Counts(np.array([3, 0, 0, 0]), np.array([4, 0, 5, 0]), np.array([4, 0, 0, 7]))
        assert c.score.tolist() == [0.75, 1, 0, 0]
        np.testing.assert_array_equal(c.dice, [0.75, np.nan, np.nan, 0])


class TestJudge:
    def test_a_clear_gain(self) -> None:
        trial = _trial([0.7] * 20, [0.75] * 20)
        assert trial.kept and trial.gain == pytest.approx(0.05) and trial.dice_gain == trial.gain
        assert trial.low == pytest.approx(0.05) and (trial.cases, trial.changed) == (20, 20)

    def test_no_change(self) -> None:
        trial = _trial([0.7] * 20, [0.7] * 20)
        assert not trial.kept and trial.reason == "nothing changes" and trial.gain == 0

    def test_a_loss(self) -> None:
        assert _trial([0.7] * 20, [0.6] * 20).reason == "the mean does not improve"

    def test_one_case_proves_nothing(self) -> None:
        after = np.full(20, 0.7)
        after[3] = 1
        trial = _trial([0.7] * 20, after)
        assert trial.gain > 10 * MARGIN
        assert not trial.kept and trial.reason == f"fewer than {FEWEST} groups change"

    def test_slices_of_few_volumes_prove_nothing(self) -> None:
        """The mean improves in every slice, but all are of four patients."""
        groups = np.repeat(range(4), 25)
        trial = _trial([0.7] * 100, [0.75] * 100, groups)
        assert (trial.groups, trial.changed, trial.kept) == (4, 4, False)
        assert _trial([0.7] * 100, [0.75] * 100, np.repeat(range(20), 5)).kept

    def test_a_tiny_gain_is_not_worth_a_rule(self) -> None:
        before, after = _counts([0.7] * 20, 100_000), _counts([0.7005] * 20, 100_000)
        trial = compare_scores(WHAT, [before], [after], [str(i) for i in range(20)])
        assert trial.low is not None and trial.low > 0
        assert not trial.kept and trial.reason == "the gain is below 0.001"

    def test_lesions_are_not_sold_for_clean_slices(self) -> None:
        """Half of the cases are empty and get clean; true lesions vanish in the others."""
        names = [str(i) for i in range(40)]
        reference = np.array([50] * 20 + [0] * 20)
        before = Counts(np.array([40] * 20 + [0] * 20), np.array([50] * 20 + [5] * 20), reference)
        after = Counts(np.array([30] * 20 + [0] * 20), np.array([40] * 20 + [0] * 20), reference)
        trial = compare_scores(WHAT, [before], [after], names)
        assert trial.gain > 0.4 and trial.dice_gain is not None and trial.dice_gain < 0
        assert trial.reason == "the Dice of the cases that have the class falls"

    def test_more_values_need_more_proof(self) -> None:
        before, after = _noise(4)
        widths = []
        for values in (1, 9):
            trial = _trial(before, after + 0.01, values=values)
            assert trial.low is not None and trial.high is not None
            widths.append(trial.high - trial.low)
        assert widths[1] > 1.2 * widths[0]
        assert trial.level == pytest.approx(1 - 0.05 / 9)

    def test_chance_is_rarely_kept(self) -> None:
        """nnU-Net's rule (any better mean) would keep half of these."""
        trials = [_trial(*_noise(seed)) for seed in range(60)]
        better = sum(trial.gain > 0 for trial in trials)
        assert 20 < better < 40
        assert sum(trial.kept for trial in trials) <= 4

    def test_one_group(self) -> None:
        trial = _trial([0.7] * 9, [0.8] * 9, [0] * 9)
        assert trial.low is None and not trial.kept


class TestBest:
    def test_the_highest_gain_of_those_that_are_proven(self) -> None:
        base = [0.7] * 20
        lucky = np.full(20, 0.7)
        lucky[:2] = 1
        trials, best = best_of(
            [_trial(base, after) for after in ([0.72] * 20, [0.74] * 20, lucky + 0.02)]
        )
        assert [trial.kept for trial in trials] == [False, False, True]
        assert best is trials[2] and trials[0].reason == "min_size = 5 is better"

    def test_none(self) -> None:
        trials, best = best_of([_trial([0.7] * 20, [0.6] * 20)])
        assert best is None and not trials[0].kept

    def test_harm_elsewhere(self) -> None:
        good, bad = _trial([0.7] * 20, [0.8] * 20), _trial([0.7] * 20, [0.69] * 20)
        assert without_harm(good, [good]).kept
        assert without_harm(good, [bad]).reason == "it harms in 2d"
