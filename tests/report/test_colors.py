"""The colours of classes and of errors."""

from __future__ import annotations

from itertools import combinations

import pytest

from flexseg.evaluation.summary import ClassSummary
from flexseg.files.display import CLASS_COLORS, Rgb
from flexseg.report.colors import Colors


def of(*colors: tuple[int, ...]) -> Colors:
    return Colors.of(
        [ClassSummary(i, f"c{i}", rgb, 1, 0, 1, 0, 0, {}) for i, rgb in enumerate(colors, start=1)]
    )


def luminance(rgb: Rgb) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


@pytest.mark.parametrize(
    "classes",
    [
        CLASS_COLORS,
        ((0, 255, 0), (255, 0, 0), (0, 0, 255)),
        ((255, 0, 140), (0, 255, 255)),
        ((255, 255, 0), (0, 255, 255)),
        ((255, 255, 255),),
    ],
)
def test_no_class_has_the_colour_of_an_error(classes: tuple[Rgb, ...]) -> None:
    colors = of(*classes)
    errors = (colors.missed, colors.false, colors.confused, colors.hit)
    for a, b in (
        *combinations(errors, 2),
        *((e, c) for e in errors for c in colors.classes.values()),
    ):
        assert sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) > 60**2
    # Without hue, too.
    assert abs(luminance(colors.missed) - luminance(colors.false)) > 40


def test_classes_keep_their_colours_but_grey() -> None:
    colors = of((0, 255, 0), (128, 128, 128), ())
    assert colors.classes == {1: (0, 255, 0), 2: CLASS_COLORS[1], 3: CLASS_COLORS[2]}
    assert colors.css()["class-1"] == "#00ff00" and not colors.repeat
    assert of((0, 255, 0), (0, 255, 0)).repeat
