"""Groups of cases that fail, and groups that differ by chance only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flexseg.forecast.failing_groups import ScoredCase, failing_groups


def cases_of(count: int = 45, seed: int = 0) -> list[ScoredCase]:
    """Scores that depend on nothing."""
    rng = np.random.default_rng(seed)
    return [
        ScoredCase(
            f"{'ab'[i % 2]}_{i:03d}",
            f"patient {i}",
            float(rng.normal(0.85, 0.05)),
            {"nucleus": float(rng.uniform(50, 5000))},
            pixels=65536.0,
            brightness=float(rng.uniform(20, 200)),
        )
        for i in range(count)
    ]


def test_small_objects_that_fail_are_named_with_their_numbers() -> None:
    cases = cases_of()
    small = sorted(cases, key=lambda case: case.sizes["nucleus"])[:15]
    cases = [replace(c, dice=c.dice - 0.2 * (c in small)) for c in cases]
    (found,) = failing_groups(cases)
    assert found.what.startswith('with small objects of "nucleus" (up to ')
    assert found.what.endswith(" px on average)")
    assert (found.cases, found.others) == (15, 30)
    assert found.dice_of_others - found.dice == pytest.approx(0.2, abs=0.05)
    assert found.p < 0.01
    (volumes,) = failing_groups(cases, volumes=True)
    assert volumes.what.startswith('with little "nucleus" (up to ')


def test_dark_images_and_sites_of_names_are_found() -> None:
    cases = [replace(c, dice=c.dice - 0.2 * (c.brightness < 70)) for c in cases_of()]
    assert failing_groups(cases)[0].what.startswith("with dark images (up to ")
    cases = [replace(c, dice=c.dice - 0.1 * c.name.startswith("b_")) for c in cases_of()]
    assert failing_groups(cases)[0].what == "whose names begin with b"


def test_chance_alone_seldom_finds_a_group() -> None:
    found = sum(bool(failing_groups(cases_of(30, seed))) for seed in range(20))
    assert found <= 3  # 1 is expected at 5 %


def test_few_groups_are_sites_and_many_are_patients_that_count_once() -> None:
    cases = [replace(c, name=f"{i:03d}", group=f"clinic {i % 3}") for i, c in enumerate(cases_of())]
    cases = [replace(c, dice=c.dice - 0.15 * (c.group == "clinic 1")) for c in cases]
    (found,) = failing_groups(cases)
    assert found.what == "of the group clinic 1" and found.cases == 15
    # One difficult patient with as many images as all others is one case.
    bad = [replace(c, group="p", dice=0.3, brightness=10.0) for c in cases_of(30)]
    good = [replace(c, name="x", brightness=100.0) for c in cases_of(13, seed=1)]
    assert failing_groups(bad + good) == []


def test_too_few_cases_and_those_without_a_score_tell_nothing() -> None:
    assert failing_groups(cases_of(7)) == [] and failing_groups([]) == []
    cases = [replace(c, dice=np.nan) for c in cases_of()]
    assert failing_groups(cases) == []


def test_equal_images_are_no_group_by_their_size() -> None:
    cases = [replace(c, dice=c.dice - 0.3 * (i < 15)) for i, c in enumerate(cases_of())]
    assert not any("images of" in g.what or "pixels" in g.what for g in failing_groups(cases))
