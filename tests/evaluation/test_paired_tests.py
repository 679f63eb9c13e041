"""Tests of paired differences: known p values, false alarms, and what groups contribute."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.evaluation.paired_tests import contributions, holm, sign_flip_p, signed_rank_p

NAN = float("nan")


class TestHolm:
    def test_holm_known_answer(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_holm_keeps_order_and_is_no_smaller(self, p: list[float]) -> None:
        adjusted = holm(p)
        assert all(p_i <= a <= 1 for p_i, a in zip(p, adjusted, strict=True))
        order = np.argsort(p, kind="stable")
        assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


class TestSignedRank:
    def test_exact_p_of_all_positive_differences(self) -> None:
        """2 of 2^n sign patterns are as extreme."""
        assert signed_rank_p(np.arange(1.0, 8)) == pytest.approx(2 / 2**7)

    def test_nothing_to_test(self) -> None:
        assert signed_rank_p(np.zeros(9)) == 1
        assert signed_rank_p(np.ones(1)) is None

    def test_false_alarms_are_as_rare_as_promised(self) -> None:
        rng = np.random.default_rng(0)
        alarms = [signed_rank_p(rng.normal(0, 1, 30)) < 0.05 for _ in range(400)]  # type: ignore[operator]
        assert 0.02 <= np.mean(alarms) <= 0.08


class TestSignFlips:
    def test_exact_p_of_all_positive_contributions(self) -> None:
        """2 of 2^n sign patterns are as extreme."""
        assert sign_flip_p(np.arange(1.0, 8)) == 2 / 2**7

    def test_known_answer(self) -> None:
        """Sums of +-3 +-1: 4, 2, -2, -4. As far from 0 as 2 are all of them."""
        assert sign_flip_p(np.array([3.0, -1.0])) == 1
        assert sign_flip_p(np.array([3.0, 1.0])) == 0.5

    @given(st.lists(st.integers(-4, 4), min_size=2, max_size=9))
    def test_all_patterns_are_counted(self, whole: list[int]) -> None:
        """Equal sums count whatever the order in which tenths, which are no binary fractions, are
        added."""
        values = np.round(np.array(whole) / 10, 9)
        sums = [abs(np.dot(signs, whole)) for signs in product((1, -1), repeat=len(whole))]
        assert sign_flip_p(values) == np.mean([total >= abs(sum(whole)) for total in sums])

    def test_nothing_to_test(self) -> None:
        assert sign_flip_p(np.zeros(9)) == 1
        assert sign_flip_p(np.ones(1)) is None

    def test_random_patterns_find_the_exact_p(self) -> None:
        """Zeros change no sum, so the p of 12 contributions is that of 20 with 8 zeros."""
        values = np.random.default_rng(4).normal(0.6, 1, 12)
        exact, drawn = sign_flip_p(values), sign_flip_p(np.append(values, np.zeros(8)))
        assert exact is not None and 0.01 < exact < 0.5
        assert drawn == pytest.approx(exact, abs=0.015)

    def test_false_alarms_are_as_rare_as_promised(self) -> None:
        rng = np.random.default_rng(0)
        alarms = [sign_flip_p(rng.normal(0, 1, 10)) < 0.05 for _ in range(400)]  # type: ignore[operator]
        assert 0.02 <= np.mean(alarms) <= 0.08


class TestContributions:
    def test_one_class_in_groups_of_equal_size(self) -> None:
        """The groups' mean differences."""
        change = np.array([[0.1], [0.3], [-0.2], [0.0]])
        found = contributions(change, np.array(["a", "a", "b", "b"]))
        assert found == pytest.approx([0.2, -0.1])

    def test_rare_classes_weigh_as_in_the_mean_of_classes(self) -> None:
        change = np.array([[0.1, NAN], [0.1, NAN], [0.1, 0.3]])
        found = contributions(change, np.array(["a", "b", "c"]))
        # 3 groups x (a third of 0.1, and of the rare class all of 0.3) / 2 classes.
        assert found == pytest.approx([0.05, 0.05, 0.5])

    def test_without_values(self) -> None:
        assert len(contributions(np.full((2, 1), NAN), np.array(["a", "b"]))) == 0

    @given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6))
    def test_their_mean_is_the_mean_of_class_means(
        self, seed: int, classes: int, groups: int
    ) -> None:
        rng = np.random.default_rng(seed)
        change = rng.normal(size=(12, classes))
        change[rng.random(change.shape) < 0.5] = NAN
        names = rng.integers(0, groups, 12).astype(str)
        means = [
            column[~np.isnan(column)].mean() for column in change.T if not np.isnan(column).all()
        ]
        found = contributions(change, names)
        if means:
            assert found.mean() == pytest.approx(np.mean(means), abs=1e-8)
        else:
            assert len(found) == 0
