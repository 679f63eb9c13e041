"""Which names of classes say a side."""

from __future__ import annotations

import pytest

from flexseg.dataset.quality.sides import named_sides, one_side


@pytest.mark.parametrize(
    "names",
    [
        ("left lung", "right_lung"),
        ("Left-Hippocampus", "Right-Hippocampus"),
        ("LungLeft", "LungRight"),
        ("kidney_L", "kidney_R"),
        ("lh.cortex", "rh.cortex"),
        ("Lunge links", "Lunge rechts"),
        ("pulmo sinister", "pulmo dexter"),
        ("poumon gauche", "poumon droit"),
        ("左肺", "右肺"),
        ("L", "R"),
        ("left atrium", "right ventricle"),
    ],
)
def test_pairs(names: tuple[str, str]) -> None:
    assert named_sides(names) == names
    assert named_sides(("body", *reversed(names))) == names


def test_of_several_the_one_of_the_same_organ() -> None:
    names = ("left kidney", "right lung", "left lung")
    assert named_sides(names) == ("left lung", "right lung")


@pytest.mark.parametrize(
    "names", [("leftover", "bright"), ("grade L", "R wave"), ("vertebra L1", "R2"), ("left", "l")]
)
def test_no_pairs(names: tuple[str, str]) -> None:
    assert named_sides(names) is None


def test_one_side() -> None:
    assert one_side(["body", "left kidney"]) == "left kidney"
    assert one_side(["grade L", "upright", "bright"]) is None
