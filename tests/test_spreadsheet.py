"""Cells that no spreadsheet executes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.spreadsheet import as_cell, of_cell


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "@SUM(1)", "+a", "-2+3", "\t=1", "\r=1", "=1", "''=1", "-1_0"]
)
def test_formulas_become_text(text: str) -> None:
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "value",
    ["case 1", "", "-", "=", "-0.5", "+3e4", "-inf", "'quoted'", "it's", "a=b", -1, 2.5, None],
)
def test_others_stay(value: object) -> None:
    assert as_cell(value) is value


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r1a"), max_size=6) | st.text())
def test_what_is_read_is_what_was_written(text: str) -> None:
    cell = as_cell(text)
    assert isinstance(cell, str)
    assert of_cell(cell) == text
