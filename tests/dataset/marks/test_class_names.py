"""Names that a user gives to classes."""

from __future__ import annotations

import pytest

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.marks.class_names import parse_class_names, renamed
from flexseg.errors import ConfigError

LABELS = LabelMap.of_foreground(
    (LabelClass(1, "class 1", ((230, 159, 0),), (128,)), LabelClass(2, "class 2", ((1, 2, 3),)))
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1=cytoplasm,2=nucleus", {1: "cytoplasm", 2: "nucleus"}),
        (" 2 = cell nucleus ", {2: "cell nucleus"}),
        ("1=body, whole,2=Zellkern (groß)", {1: "body, whole", 2: "Zellkern (groß)"}),
    ],
)
def test_parsed(text: str, names: dict[int, str]) -> None:
    assert parse_class_names(text, "--classes") == names


@pytest.mark.parametrize(
    "text", ["", "nucleus", "1:a", "1=", "a=1", "1=a,,2=b,=", "-1=a", "1=a\nb", "1=a,b=c", "²=a"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="does not name classes"):
        parse_class_names(text, "--classes")


def test_an_id_comes_once() -> None:
    with pytest.raises(ConfigError, match="class 1 is given two names"):
        parse_class_names("1=a,1=b", "--classes")


def test_renamed() -> None:
    found = renamed(LABELS, {2: "nucleus"}, "--classes")
    assert [c.name for c in found.classes] == ["background", "class 1", "nucleus"]
    assert renamed(LABELS, {1: "class 2", 2: "class 1"}, "").classes[1].colors == ((230, 159, 0),)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ({128: "cytoplasm"}, "128 is not a class"),
        ({0: "glass"}, "0 is the background"),
        ({1: "Class 2"}, "Two classes would be called"),
        ({1: "background"}, "Two classes would be called"),
    ],
)
def test_impossible_names_are_refused(names: dict[int, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        renamed(LABELS, names, "--classes")
    assert "1 (class 1), 2 (class 2)" in caught.value.fix


def test_names_of_a_config_are_those_of_the_network() -> None:
    named = renamed(LABELS, {1: "cytoplasm", 2: "nucleus"}, "")
    assert LABELS.named_as(named) == named
    assert named.named_as(LABELS) == named, "made-up names say nothing"
    other = LabelMap.of_foreground((named.classes[1], LabelClass(2, "x", ((9, 9, 9),))))
    assert LABELS.named_as(other) == LABELS, "another colour is another class"
