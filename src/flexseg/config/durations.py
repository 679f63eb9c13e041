"""Durations as people write them on a command line: `90s`, `10m`, `2h`, `1h30m`."""

from __future__ import annotations

import re

from flexseg.errors import ConfigError

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = r"(?:(?P<{unit}>\d+(?:\.\d+)?)\s*{unit}\s*)?"
_DURATION = re.compile("".join(_PART.format(unit=unit) for unit in _UNITS))


def parse_duration(text: str) -> float:
    """Seconds that a duration stands for.

    Parameters
    ----------
    text : numbers with the units d, h, m and s, the longer unit first: '90s', '1.5h', '1h30m'.

    Raises
    ------
    ConfigError : the text is something else, or less than a second.

    Examples
    --------
    >>> parse_duration("1h30m")
    5400.0
    >>> parse_duration("90s")
    90.0
    """
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = 0.0
    if match:
        seconds = sum(float(match[unit] or 0) * size for unit, size in _UNITS.items())
    if seconds < 1:
        unit = " A number needs its unit." if re.fullmatch(r"\s*[\d.]+\s*", text) else ""
        raise ConfigError(
            f"{text!r} is not a duration.{unit}",
            "Write for example 90s, 10m, 2h or 1h30m.",
            "--time",
        )
    return seconds


def clock_text(seconds: float) -> str:
    """A duration as a clock shows it: '0:07', '12:30', '1:05:00'.

    Examples
    --------
    >>> clock_text(65.4)
    '1:05'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_duration(seconds: float) -> str:
    """A duration in the same form, to the second: '1h30m', '45s'.

    Examples
    --------
    >>> format_duration(5400)
    '1h30m'
    >>> format_duration(0.2)
    '0s'
    """
    rest = round(seconds)
    parts = []
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
