"""Values of a JSON file of any version, which may lack some or have others than expected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Json = Mapping[str, object]


def number(value: object) -> float | None:
    """A finite number of a file; None for anything else."""
    if not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def count(value: object) -> int:
    """A count of a file; 0 for anything else."""
    return int(number(value) or 0)


def mapping(value: object) -> Json:
    """An object of a JSON file; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[object]:
    """A list of a JSON file; an empty one for anything else."""
    return value if isinstance(value, list | tuple) else ()
