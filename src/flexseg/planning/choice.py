"""A decision of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """A value of the config, and why it is the right one here.

    Attributes
    ----------
    section, key : where it belongs.
    value : of the key's type; paths are absolute.
    reason : one line for people, which becomes the comment beside it.
    """

    section: str
    key: str
    value: Any
    reason: str
