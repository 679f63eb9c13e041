"""The registry: names, aliases and what is said about an unknown one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flexseg.errors import ConfigError
from flexseg.registry import Registry


@pytest.fixture
def shapes() -> Registry[object]:
    registry: Registry[object] = Registry("shape")
    registry.register("Circle", "disc", "round")("a circle")
    registry.register("Square")("a square")
    return registry


@pytest.mark.parametrize("name", ["Circle", "circle", "CIRCLE", "disc", "Disc", "ROUND"])
def test_name_and_aliases_in_any_letter_case_are_one_entry(
    shapes: Registry[object], name: str
) -> None:
    assert shapes.get(name) == "a circle"
    assert shapes.canonical(name) == "Circle"
    assert name in shapes


def test_aliases_are_not_listed(shapes: Registry[object]) -> None:
    assert list(shapes) == ["Circle", "Square"]
    assert len(shapes) == 2


def test_unknown_name_gets_kind_nearest_and_known_names(shapes: Registry[object]) -> None:
    with pytest.raises(ConfigError) as caught:
        shapes.get("Squere")
    assert caught.value.problem == "'Squere' is not a known shape."
    assert caught.value.fix == "Nearest names: square. Known: Circle, Square."
    assert "Squere" not in shapes


def test_name_unlike_all_others_gets_the_known_names_only(shapes: Registry[object]) -> None:
    with pytest.raises(ConfigError) as caught:
        shapes.get("xyz")
    assert caught.value.fix == "Known: Circle, Square."


@pytest.mark.parametrize("names", [("circle",), ("Disk", "ROUND")])
def test_registering_a_name_twice_is_a_programming_error(
    shapes: Registry[object], names: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="registered twice"):
        shapes.register(*names)("another")


def test_register_decorates_without_change() -> None:
    registry: Registry[Callable[[int], int]] = Registry("function")

    @registry.register("double")
    def double(x: int) -> int:
        return 2 * x

    assert double(4) == 8
    assert registry.get("double") is double
