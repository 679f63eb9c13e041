"""A picture in the terminal, of half blocks: two pixels below each other in each character."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

_BLOCK = "\N{UPPER HALF BLOCK}"


def can_show(console: Console) -> bool:
    """Whether a console shows pictures: a terminal of colours and of Unicode."""
    colored = console.is_terminal and console.color_system in ("256", "truecolor", "windows")
    return colored and not console.quiet and console.encoding.lower().startswith("utf")


def half_blocks(picture: NDArray[np.uint8], columns: int) -> Text:
    """A picture [H, W, 3] as lines of text that are at most `columns` wide.

    A character is about twice as high as wide, so that half of one is a square.
    """
    height, width = picture.shape[:2]
    columns = min(columns, width)
    rows = max(2, round(height * columns / width / 2) * 2)
    small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    text = Text(no_wrap=True, end="")
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
            text.append(_BLOCK, style)
        text.append("\n")
    return text


def side_by_side(*pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures [H, W, 3] of one size in a row, parted by a dark line."""
    gap = np.zeros((pictures[0].shape[0], max(2, pictures[0].shape[1] // 30), 3), np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=1)
