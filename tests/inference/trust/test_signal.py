"""What predictions tell of themselves, from masks that are counted by hand."""

from __future__ import annotations

import numpy as np

from flexseg.inference.trust.signal import Members, with_answers


def test_whole_answers_agree_as_their_dice_says() -> None:
    members = Members(0.5)
    p = np.array([0.9, 0.9, 0.9, 0.1], np.float32).reshape(1, 2, 2, 1)
    members.see(p, own=True)
    (own,) = members.signals()
    first = np.array([1, 1, 1, 0], np.uint8).reshape(1, 2, 2)
    second = np.array([0, 1, 1, 0], np.uint8).reshape(1, 2, 2)
    both = with_answers(own, [first, second])
    (sure,) = own.values(members=False)
    np.testing.assert_allclose(sure, 0.9, rtol=1e-6)
    # Their Dice is 2 * 2 / (3 + 2).
    np.testing.assert_allclose(both.values(members=True), [(sure + 0.8) / 2])
    np.testing.assert_allclose(both.values(members=False), [sure])


def test_a_little_of_a_class_all_over_a_large_background_does_not_count() -> None:
    members = Members(0.5)
    p = np.full((1, 100, 100, 1), 0.05, np.float32)
    p[0, :2, :2] = 0.9
    members.see(p, own=True)
    (own,) = members.signals()
    np.testing.assert_allclose(own.values(members=False), [0.9], rtol=1e-6)
