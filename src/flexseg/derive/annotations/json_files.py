"""JSON files of annotations: one, or a folder of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from flexseg.errors import DataError
from flexseg.files.json_file import read_json

# To tell a format, this many files of a folder are looked at.
_LOOKED_AT = 20


@lru_cache(maxsize=4)
def _cached(path: Path, changed: int) -> Any:
    return read_json(path, "utf-8-sig")


def json_of(path: Path) -> Any:
    """The content of a JSON file; None of anything else."""
    if not path.is_file() or path.suffix.lower() not in (".json", ".geojson"):
        return None
    try:
        return _cached(path, path.stat().st_mtime_ns)
    except (OSError, ValueError):
        return None


def need_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises
    ------
    DataError : it is no JSON.
    """
    try:
        return read_json(path, "utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"This is not JSON: {error}.", "Export it again.", str(path)) from None


def json_files(path: Path) -> list[Path]:
    """A JSON file, or all of a folder and the folders in it."""
    if path.is_file():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and file.suffix.lower() in (".json", ".geojson")
    )


def any_json(path: Path) -> list[Any]:
    """The first files of a folder, or one file, as far as they are JSON."""
    found = (json_of(file) for file in json_files(path)[:_LOOKED_AT])
    return [content for content in found if content is not None]
