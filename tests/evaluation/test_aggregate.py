"""Means with intervals: coverage, clusters, and gaps."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from flexseg.evaluation.aggregate import (
    Sample,
    bootstrap_means,
    interval,
    mean_of_classes,
    mean_or_none,
    small_sample_note,
)


def _interval(values: np.ndarray, groups: list[str], **keys: int) -> tuple[float, float] | None:
    return interval(bootstrap_means(values[:, None], groups, **keys)[:, 0])


def _names(count: int) -> list[str]:
    return [f"case {i}" for i in range(count)]


class TestCoverage:
    def test_independent_cases(self) -> None:
        """95 % intervals hold the true mean in 95 % of samples (percentile method, n = 60)."""
        rng, runs, n = np.random.default_rng(0), 1000, 60
        # Beta(8, 2) looks like Dice: skewed, mean 0.8. The columns are the simulations.
        draws = bootstrap_means(rng.beta(8, 2, (n, runs)), _names(n), resamples=500)
        intervals = [interval(draws[:, run]) for run in range(runs)]
        hits = [found is not None and found[0] <= 0.8 <= found[1] for found in intervals]
        assert 0.93 <= np.mean(hits) <= 0.97

    def test_cases_of_one_patient_are_not_independent(self) -> None:
        """60 patients with 5 slices each: by patient the coverage holds, by slice it breaks."""
        rng, runs, patients, slices = np.random.default_rng(1), 500, 60, 5
        by_patient = rng.normal(0.8, 0.1, (patients, runs))
        values = np.repeat(by_patient, slices, axis=0)
        values += rng.normal(0, 0.02, values.shape)
        groups = [f"patient {i // slices}" for i in range(patients * slices)]

        def coverage(names: list[str]) -> float:
            draws = bootstrap_means(values, names, resamples=300)
            intervals = [interval(draws[:, run]) for run in range(runs)]
            return float(np.mean([f is not None and f[0] <= 0.8 <= f[1] for f in intervals]))

        assert coverage(groups) >= 0.91
        assert coverage(_names(len(groups))) < 0.75


class TestClusters:
    def test_copies_of_a_case_add_no_certainty(self) -> None:
        values = np.random.default_rng(0).beta(8, 2, 20)
        groups = _names(20)
        once = _interval(values, groups)
        five_times = _interval(np.tile(values, 5), groups * 5)
        as_if_independent = _interval(np.tile(values, 5), _names(100))
        assert once is not None and five_times is not None and as_if_independent is not None
        assert five_times == pytest.approx(once)
        width = as_if_independent[1] - as_if_independent[0]
        assert width < 0.6 * (once[1] - once[0])

    def test_one_group_says_nothing_about_the_spread(self) -> None:
        values = np.random.default_rng(0).beta(8, 2, 20)
        assert _interval(values, ["patient"] * 20) is None

    def test_class_present_in_one_group_only(self) -> None:
        values = np.array([[0.8, 0.7], [0.9, np.nan], [0.6, np.nan], [0.5, 0.3]])
        draws = bootstrap_means(values, ["a", "b", "c", "a"])
        assert interval(draws[:, 0]) is not None
        assert interval(draws[:, 1]) is None


class TestGaps:
    def test_undefined_cases_do_not_count(self) -> None:
        values = np.random.default_rng(0).beta(8, 2, 30)
        padded = np.concatenate([values, np.full(10, np.nan)])
        draws = bootstrap_means(padded[:, None], _names(40))
        assert np.nanmean(draws) == pytest.approx(values.mean(), abs=2e-3)
        assert mean_or_none(padded) == pytest.approx(values.mean())

    def test_nothing_defined(self) -> None:
        nothing = np.full(5, np.nan)
        assert mean_or_none(nothing) is None
        assert _interval(nothing, _names(5)) is None

    def test_resamples_without_the_class_are_left_out(self) -> None:
        values = np.array([0.4, 0.6, *[np.nan] * 8])
        draws = bootstrap_means(values[:, None], _names(10))[:, 0]
        assert np.isnan(draws).any()
        found = interval(draws)
        assert found is not None and found == pytest.approx((0.4, 0.6))

    def test_too_few_resamples(self) -> None:
        assert _interval(np.array([0.4, 0.6]), _names(2), resamples=2) is None


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(0).beta(8, 2, 20)
    assert _interval(values, _names(20)) == _interval(values, _names(20))
    assert _interval(values, _names(20)) != _interval(values, _names(20), seed=1)


def test_interval_is_the_middle_95_percent() -> None:
    assert interval(np.arange(1001) / 1000) == pytest.approx((0.025, 0.975))


class TestMeanOfClasses:
    """Class 0 is in all groups, class 1 in one only."""

    values = np.array([[0.8, 0.2], [0.9, np.nan], [0.6, np.nan], [0.5, np.nan]])

    def test_interval_varies_the_class_of_several_groups(self) -> None:
        draws = bootstrap_means(self.values, _names(4))
        of_first = interval(draws[:, 0])
        mean, found = mean_of_classes(self.values, draws)
        assert mean == pytest.approx((0.7 + 0.2) / 2)
        assert of_first is not None and found is not None
        assert found == pytest.approx([(limit + 0.2) / 2 for limit in of_first])
        assert found[0] < mean < found[1]

    def test_no_class_in_two_groups(self) -> None:
        values = np.array([[0.8, np.nan], [np.nan, 0.2]])
        found = mean_of_classes(values, bootstrap_means(values, _names(2)))
        assert found == (pytest.approx(0.5), None)

    def test_nothing_defined(self) -> None:
        nothing = np.full((3, 2), np.nan)
        assert mean_of_classes(nothing, bootstrap_means(nothing, _names(3))) == (None, None)


class TestSample:
    values: ClassVar = {
        "dice": np.array([[0.9, np.nan], [0.5, 0.2], [np.nan, 0.4], [0.7, 0.6], [0.5, np.nan]]),
        "hd95": np.array([[1.0, np.nan], [9.0, 7.0], [np.nan, 5.0], [3.0, 2.0], [4.0, np.nan]]),
    }

    def _sample(self, resamples: int = 500) -> Sample:
        return Sample(self.values, _names(5), resamples)

    def test_statistics(self) -> None:
        found = self._sample().statistics("dice", 0)
        assert found.mean == pytest.approx(0.65)
        assert (found.min, found.median, found.max) == (0.5, 0.6, 0.9)
        assert found.p5 == pytest.approx(np.percentile([0.5, 0.5, 0.7, 0.9], 5))
        assert found.ci95 is not None
        assert found.ci95[0] < 0.65 < found.ci95[1]

    def test_metrics_keep_their_columns(self) -> None:
        """Each metric and class has the bootstrap of its own values."""
        sample = self._sample()
        for metric, columns in self.values.items():
            draws = bootstrap_means(columns, _names(5), 500)
            for column in range(2):
                expected = interval(draws[:, column])
                found = sample.statistics(metric, column).ci95
                assert found == pytest.approx(expected, abs=1e-6)

    def test_macro_is_the_mean_of_class_means(self) -> None:
        found = self._sample().macro("hd95")
        assert found.mean == pytest.approx((17 / 4 + 14 / 3) / 2, abs=1e-6)
        assert found.mean is not None and found.ci95 is not None
        assert found.ci95[0] < found.mean < found.ci95[1]

    def test_worst_cases_lowest_first_ties_by_name(self) -> None:
        worst = self._sample().worst("dice", 0, ["a", "z", "c", "d", "b"])
        assert worst == (("b", 0.5), ("z", 0.5), ("d", 0.7), ("a", 0.9))

    def test_too_few_resamples_give_no_interval(self) -> None:
        assert self._sample(0).statistics("dice", 0).ci95 is None


def test_small_samples_are_noted() -> None:
    assert small_sample_note({"disc": 50, "never there": 0}) is None
    note = str(small_sample_note({"disc": 50, "ring": 7, "line": 49, "dot": 1}))
    assert "ring (7), line (49)." in note and "disc" not in note and "dot" not in note
