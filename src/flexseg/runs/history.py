"""The history of a training: its losses and metrics after each epoch."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from flexseg.runs.given import HISTORY
from flexseg.runs.records import read_record

_HISTORY: TypeAdapter[dict[str, list[float | None]]] = TypeAdapter(dict[str, list[float | None]])


def read_history(folder: Path) -> dict[str, list[float | None]] | None:
    """Metric -> value after each epoch, None where it was not finite; None without the file.

    Parameters
    ----------
    folder : of the run.

    Raises
    ------
    DataError : the file is damaged.
    """
    path = folder / HISTORY
    try:
        return read_record(path, _HISTORY, "The history of the training", _FIX)
    except FileNotFoundError:
        return None


_FIX = "Restore the file from a copy, or move it away: only curves and losses are lost with it."
