"""Means with intervals: coverage, clusters, and gaps."""

from __future__ import annotations

import numpy as np
import pytest

from flexseg.evaluation.aggregate import bootstrap_means, interval, mean_or_none


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
