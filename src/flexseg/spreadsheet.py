"""Cells of CSV tables that a spreadsheet shows as text and does not execute.

A text that begins like a formula (`=cmd|...`) gets an apostrophe in front, which spreadsheets take
for "this is text"; numbers stay as they are.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r].", re.DOTALL)


def as_cell(value: object) -> object:
    """A value as it is to be written into a CSV table."""
    if isinstance(value, str) and _FORMULA.match(value) and not _is_number(value):
        return f"'{value}"
    return value


def of_cell(text: str) -> str:
    """The text that `as_cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
