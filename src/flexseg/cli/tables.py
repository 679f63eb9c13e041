"""Tables in the terminal: how columns are aligned, and how numbers and intervals are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from flexseg.errors import one_line

Cell = str | int | Text | None
NOTHING = "-"


@dataclass(frozen=True)
class Column:
    """A column: "text" folds where the terminal is narrow, "fixed" does not, "number" does not
    and stands on the right."""

    heading: str
    kind: Literal["text", "fixed", "number"]


def texts(*headings: str) -> list[Column]:
    """Columns of texts."""
    return [Column(heading, "text") for heading in headings]


def fixed(*headings: str) -> list[Column]:
    """Columns of texts of few characters, which never fold."""
    return [Column(heading, "fixed") for heading in headings]


def numbers(*headings: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(heading, "number") for heading in headings]


class Table:
    """A table that is filled row by row.

    Parameters
    ----------
    header : whether the headings are shown.
    """

    def __init__(self, columns: Sequence[Column], *, header: bool = True) -> None:
        self._table = RichTable(
            box=SIMPLE_HEAD,
            show_header=header,
            padding=(0, 1),
            collapse_padding=True,
            pad_edge=False,
        )
        for column in columns:
            self._table.add_column(
                Text(column.heading),
                justify="right" if column.kind == "number" else "left",
                no_wrap=column.kind != "text",
                overflow="fold",
            )

    def add(self, *cells: Cell, style: str | None = None) -> None:
        """Add a row; None is shown as a dash, and markup in texts has no meaning."""
        self._table.add_row(
            *(Text(NOTHING if cell is None else one_line(str(cell)))
              if not isinstance(cell, Text) else cell
              for cell in cells),
            style=style,
        )  # fmt: skip

    def rule(self) -> None:
        """Set off what follows."""
        self._table.add_section()

    def fits(self, console: Console) -> bool:
        """Whether no text folds."""
        unlimited = console.options.update(max_width=10_000)
        return Measurement.get(console, unlimited, self._table).maximum <= console.width

    def print(self, console: Console) -> None:
        """Show it."""
        console.print(self._table)


def number(value: float | None, digits: int = 4, *, sign: bool = False) -> str:
    """A value with a fixed number of decimals."""
    return NOTHING if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def with_interval(
    value: float | None,
    interval: tuple[float, float] | None,
    digits: int = 4,
    *,
    sign: bool = False,
    separator: str = "-",
) -> Text:
    """A value, and below it its interval, whose ends are parted by `separator`, signed by "to"."""
    if value is None or interval is None:
        return Text(number(value, digits, sign=sign))
    ends = (number(end, digits, sign=sign) for end in interval)
    return below(number(value, digits, sign=sign), (" to " if sign else separator).join(ends))


def below(text: str, detail: str, style: str = "") -> Text:
    """A text, and below it in small something that belongs to it."""
    return Text.assemble((one_line(text), style), "\n", (one_line(detail), "dim"))
