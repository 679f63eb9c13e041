"""A division that is extended: what was divided stays, and groups stay whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flexseg.dataset.cases import Case
from flexseg.dataset.division.dividing import SHARES, CaseTable
from flexseg.dataset.division.extending import counted, extend_parts
from flexseg.dataset.division.splits import SPLITS, SplitName

WANTED = dict(zip(SPLITS, SHARES, strict=True))


def table(groups: list[str], digests: list[str] | None = None) -> CaseTable:
    cases = tuple(
        Case(f"c{i:02d}", Path(f"c{i:02d}.png"), Path("m.png"), group)
        for i, group in enumerate(groups)
    )
    rng = np.random.default_rng(len(groups))
    presence = rng.random((len(groups), 2)) < 0.6
    return CaseTable(cases, presence, tuple(digests or [""] * len(groups)), ("a", "b"))


# For each group its earlier part, and how many old and new cases it has.
GROUPS = st.lists(
    st.tuples(st.sampled_from([None, *SPLITS]), st.integers(1, 3), st.integers(0, 2)),
    min_size=4,
    max_size=16,
)


@given(GROUPS)
def test_nothing_moves_and_groups_stay_whole(
    groups: list[tuple[SplitName | None, int, int]],
) -> None:
    names: list[str] = []
    earlier: dict[Path, SplitName] = {}
    for number, (part, old, new) in enumerate(groups):
        for i in range(old + new):
            if part is not None and i < old:
                earlier[Path(f"c{len(names):02d}.png")] = part
            names.append(f"g{number}")
    cases = table(names)
    parts = extend_parts(cases, WANTED, earlier)
    where = {case: split for split, own in parts.items() for case in own}
    assert set(where) == set(cases.cases), "every case is in one part"
    assert sum(map(len, parts.values())) == len(cases.cases)
    assert all(where[case] == earlier[case.image] for case in cases.cases if case.image in earlier)
    for name in set(names):
        assert len({where[case] for case in cases.cases if case.group == name}) == 1
    assert parts == extend_parts(cases, WANTED, earlier)
    fresh = {f"g{i}" for i, (part, _, _) in enumerate(groups) if part is None}
    if len(fresh) >= 3:
        assert all({where[c] for c in cases.cases if c.group in fresh} >= {s} for s in SPLITS)


def test_a_new_image_of_a_test_patient_and_a_copy_of_a_test_image_are_tests() -> None:
    cases = table(["p1", "p1", "p2", "p3"], ["x", "y", "x", "z"])
    parts = extend_parts(cases, WANTED, {Path("c00.png"): "test", Path("c03.png"): "train"})
    assert [c.id for c in parts["test"]] == ["c00", "c01", "c02"]
    assert [c.id for c in parts["train"]] == ["c03"] and parts["valid"] == ()


def test_few_new_groups_fill_what_is_empty_and_then_train() -> None:
    cases = table(["a", "b", "c", "d"])
    old: dict[Path, SplitName] = {Path("c00.png"): "train", Path("c01.png"): "valid"}
    assert [len(own) for own in extend_parts(cases, WANTED, old).values()] == [2, 1, 1]
    old[Path("c02.png")] = "test"
    parts = extend_parts(cases, WANTED, old)
    assert [c.id for c in parts["train"]] == ["c00", "c03"]
    assert counted(parts, old).startswith("train 2 (1 earlier, 1 new), valid 1 (1 earlier, 0 new)")


def test_what_tested_trains_only_where_no_test_is_to_be_made() -> None:
    cases = table(["a", "b", "c", "d", "e"])
    parts = extend_parts(cases, {"train": 0.8, "valid": 0.2}, {Path("c00.png"): "test"})
    assert "c00" in {c.id for c in parts["train"]} and set(parts) == {"train", "valid"}
