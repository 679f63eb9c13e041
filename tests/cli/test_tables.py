"""Tables in the terminal: alignment, numbers and intervals, and what markup in names does."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from flexseg.cli.tables import Table, below, fixed, number, numbers, texts, with_interval


def _shown(table: Table, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    table.print(console)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_numbers_stand_on_the_right() -> None:
    table = Table([*texts("class"), *numbers("cases", "Dice")])
    table.add("disc", 7, number(0.5))
    table.add("[bold]square[/]", None, with_interval(0.25, (0.125, 0.5)))
    head, _, *rows = _shown(table)
    assert head.split() == ["class", "cases", "Dice"]
    assert [row.split() for row in rows] == [
        ["disc", "7", "0.5000"],
        ["[bold]square[/]", "-", "0.2500"],
        ["0.1250-0.5000"],
    ]
    assert len(rows[0]) == len(rows[1]) == len(rows[2])


def test_equal_headings_are_two_columns() -> None:
    table = Table(numbers("mean", "mean"))
    table.add(1, 2)
    assert _shown(table)[-1].split() == ["1", "2"]


def test_only_texts_fold() -> None:
    table = Table([*texts("what"), *fixed("started"), *numbers("seconds")])
    table.add("a long sentence of words " * 4, "2026-01-02 03:04", 1234567)
    lines = _shown(table, width=50)
    assert max(map(len, lines)) <= 50
    assert any("2026-01-02 03:04" in line and "1234567" in line for line in lines)


def test_header_can_be_left_out() -> None:
    table = Table([*fixed("fact"), *texts("found")], header=False)
    table.add("images", "12")
    table.rule()
    table.add("network", "U-Net")
    assert not any("fact" in line for line in _shown(table))


@pytest.mark.parametrize(
    ("value", "interval", "sign", "expected"),
    [
        (0.5, (0.4, 0.6), False, "0.500\n0.400-0.600"),
        (0.5, (-0.4, 0.6), True, "+0.500\n-0.400 to +0.600"),
        (0.5, None, False, "0.500"),
        (None, None, False, "-"),
    ],
)
def test_intervals(
    value: float | None, interval: tuple[float, float] | None, sign: bool, expected: str
) -> None:
    assert with_interval(value, interval, 3, sign=sign).plain == expected


def test_ends_can_be_parted_by_a_word() -> None:
    assert with_interval(0, (0, 0), separator=" to ").plain == "0.0000\n0.0000 to 0.0000"


def test_details_are_below() -> None:
    assert below("run_1", "2:03").plain == "run_1\n2:03"
