"""JSON in: whatever is wrong with a text is one kind of error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path, encoding: str = "utf-8") -> Any:
    """The content of a JSON file.

    Raises
    ------
    OSError : it cannot be opened.
    ValueError : it is no text, no JSON, or nested too deeply.
    """
    return parse_json(path.read_text(encoding=encoding))


def parse_json(text: str) -> Any:
    """The content of a JSON text.

    Raises
    ------
    ValueError : it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
