"""Pictures in the terminal."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from flexseg.cli.terminal_picture import can_show, half_blocks, side_by_side


def test_two_pixels_are_one_character() -> None:
    picture = np.zeros((4, 3, 3), np.uint8)
    picture[0] = (255, 0, 0)
    picture[1] = (0, 0, 255)
    text = half_blocks(picture, 80)
    assert text.plain == "▀▀▀\n▀▀▀\n"
    style = text.spans[0].style
    assert str(style) == "#ff0000 on #0000ff"


@pytest.mark.parametrize(("shape", "columns"), [((100, 300), 60), ((301, 99), 40), ((1, 50), 9)])
def test_a_picture_keeps_its_shape_and_fits(shape: tuple[int, int], columns: int) -> None:
    lines = half_blocks(np.full((*shape, 3), 7, np.uint8), columns).plain.splitlines()
    assert {len(line) for line in lines} == {columns}
    assert abs(2 * len(lines) / columns - shape[0] / shape[1]) <= 2 / columns


def test_only_a_terminal_of_colours_shows_it() -> None:
    def console(**options: object) -> Console:
        stream = io.TextIOWrapper(io.BytesIO(), encoding=str(options.pop("encoding", "utf-8")))
        return Console(file=stream, **options)  # type: ignore[arg-type]

    assert can_show(console(force_terminal=True, color_system="truecolor"))
    assert not can_show(console())
    assert not can_show(console(force_terminal=True, color_system=None))
    assert not can_show(console(force_terminal=True, color_system="256", encoding="cp1252"))
    assert not can_show(console(force_terminal=True, color_system="256", quiet=True))


def test_pictures_in_a_row() -> None:
    white, grey = np.full((6, 60, 3), 255, np.uint8), np.full((6, 60, 3), 90, np.uint8)
    row = side_by_side(white, grey)
    assert row.shape == (6, 122, 3) and (row[:, 60:62] == 0).all() and row[0, -1, 0] == 90
