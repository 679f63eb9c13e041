"""Figures for people."""

from __future__ import annotations

import pytest

from flexseg.evaluation.metrics.metric import Unit
from flexseg.report.formats import formatted


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "share", "\N{EN DASH}"),
        (0.12345, "share", "0.123"),
        (9.949, "distance", "9.95"),
        (9.95, "distance", "9.9"),
        (0.123, "signed share", "+12.3%"),
        (-0.123, "signed share", "\N{MINUS SIGN}12.3%"),
        (0.0004, "signed share", "0.0%"),
        (-0.0004, "signed share", "0.0%"),
    ],
)
def test_value(value: float | None, unit: Unit, shown: str) -> None:
    assert formatted(value, unit) == shown
