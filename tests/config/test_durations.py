"""Durations on the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexseg.config.durations import format_duration, parse_duration
from flexseg.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), (" 2 H ", 7200),
        ("1d", 86400), ("1m30s", 90),
    ],
)  # fmt: skip
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["10", "", "m", "1m1h", "-5m", "0s", "0.5s", "soon", "1h 30", "nan s"]
)
def test_anything_else_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="1h30m"):
        parse_duration(text)


@given(st.integers(1, 10**6))
def test_what_is_written_is_read_again(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
