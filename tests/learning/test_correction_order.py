"""What to correct next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexseg.learning.correction_order import Candidate, look_of, order


def picture(seed: int, size: tuple[int, int] = (40, 60)) -> NDArray[np.uint8]:
    cells = np.random.default_rng(seed).integers(0, 256, (4, 6), np.uint8)
    return np.kron(cells, np.ones((size[0] // 4, size[1] // 6), np.uint8))


def candidate(name: str, dice: float | None, seed: int) -> Candidate:
    return Candidate(name, dice, look_of(picture(seed)))


def test_the_worst_first_where_nothing_is_corrected() -> None:
    found = [*order([candidate("good", 0.9, 0), candidate("bad", 0.2, 1)], [])]
    assert [one.name for one in found] == ["bad", "good"]


def test_copies_of_what_is_corrected_come_last() -> None:
    many = [candidate("copy", 0.2, 0), candidate("new", 0.6, 1), candidate("unknown", None, 2)]
    found = [*order(many, [look_of(picture(0))])]
    assert found[-1].name == "copy"


def test_alike_failures_are_spread() -> None:
    many = [candidate("a", 0.1, 0), candidate("like a", 0.12, 0), candidate("b", 0.5, 1)]
    assert [one.name for one in order(many, [])] == ["a", "b", "like a"]


def test_nothing_to_order() -> None:
    assert [*order([], [])] == []


def test_a_look_knows_no_brightness_and_no_size() -> None:
    small, large = picture(3), np.kron(picture(3), np.ones((3, 3), np.uint8))
    brighter = (small.astype(np.uint16) * 100 + 50).astype(np.uint16)
    rgb = np.repeat(small[..., None], 3, axis=2)
    for other in (large, brighter, rgb, small[..., None]):
        np.testing.assert_allclose(look_of(other), look_of(small), atol=0.03)
    assert np.linalg.norm(look_of(picture(4)) - look_of(small)) > 1
    assert np.isfinite(look_of(np.zeros((5, 5), np.uint8))).all()
