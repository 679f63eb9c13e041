"""Classes of the command line: which is the background, which ids the others get."""

from __future__ import annotations

import pytest

from flexseg.derive.class_options import parse_class_names, parse_colors, parse_labels
from flexseg.errors import ConfigError


def test_labels_in_the_order_given_with_0_as_background() -> None:
    background, *foreground = parse_labels(["4=tumour", "1,2=organ"])
    assert (background.name, background.values) == ("background", (0,))
    assert [(c.id, c.name, c.values) for c in foreground] == [
        (1, "tumour", (4,)),
        (2, "organ", (1, 2)),
    ]
    assert parse_labels([]) == ()


@pytest.mark.parametrize(
    ("texts", "background", "foreground"),
    [
        (["255=background", "7=cell"], (255, 0), ["cell"]),
        (["255=Background", "0=lesion", "7=cell"], (255,), ["lesion", "cell"]),
        (["0,9=void", "7=cell"], (0, 9), ["cell"]),
    ],
)
def test_background_by_name_or_by_value_0(
    texts: list[str], background: tuple[int, ...], foreground: list[str]
) -> None:
    first, *rest = parse_labels(texts)
    assert first.values == background
    assert [c.name for c in rest] == foreground


@pytest.mark.parametrize("wrong", ["spleen", "1=", "x=spleen", "1;2=a"])
def test_labels_of_another_form(wrong: str) -> None:
    with pytest.raises(ConfigError, match="does not name a class"):
        parse_labels([wrong])


def test_values_that_occur_twice_or_are_background_only() -> None:
    with pytest.raises(ConfigError, match="occurs twice"):
        parse_labels(["1=a", "1=b"])
    with pytest.raises(ConfigError, match="no class but the background"):
        parse_labels(["0=a"])


def test_colors_with_black_as_background_too() -> None:
    background, *foreground = parse_colors(["9,9,9=background", "#0000ff=left", "red=right"])
    assert background.colors == ((9, 9, 9), (0, 0, 0))
    assert [(c.id, c.name, c.colors) for c in foreground] == [
        (1, "left", ((0, 0, 255),)),
        (2, "right", ((255, 0, 0),)),
    ]
    assert parse_colors([]) == ()


@pytest.mark.parametrize("text", ["255,0=a", "256,0,0=a", "reddish=a", "red", "red="])
def test_texts_that_give_no_color_a_class(text: str) -> None:
    with pytest.raises(ConfigError, match="does not assign a class to a colour"):
        parse_colors([text])
    with pytest.raises(ConfigError, match="occurs twice"):
        parse_colors(["red=a", "255,0,0=b"])


def test_class_names_with_the_patterns_of_their_masks() -> None:
    assert parse_class_names(["liver = {id}_liver"]) == (("liver", "{id}_liver"),)
    with pytest.raises(ConfigError, match="named twice"):
        parse_class_names(["liver={id}_1", "liver={id}_2"])
    with pytest.raises(ConfigError, match="does not name a class"):
        parse_class_names(["{id}_liver"])
