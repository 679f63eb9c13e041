"""A config that changes value by value, each with its reason."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from flexseg.config.legacy_keys import COMMAND_LINE, ORIGINAL
from flexseg.config.load import LoadedConfig


@dataclass(frozen=True)
class Change:
    """One value that the repair gives a config.

    Attributes
    ----------
    before, after : JSON types.
    """

    section: str
    key: str
    before: Any
    after: Any
    reason: str

    @property
    def name(self) -> str:
        """The key with its section."""
        return f"{self.section}.{self.key}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def from_shell(loaded: LoadedConfig, section: str, key: str) -> bool:
    """Whether the command line gives a value, which then stays."""
    return loaded.source(section, key).startswith(COMMAND_LINE)


class Draft:
    """A config whose values change one by one, with the reasons."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self.loaded = loaded
        self.result = loaded.experiment
        self.changes: list[Change] = []

    def set(self, section: str, key: str, after: Any, reason: str) -> bool:
        """Change a value, unless it is the same or the command line gave it; whether it did."""
        before = getattr(getattr(self.result, section), key)
        if before == after or from_shell(self.loaded, section, key):
            return False
        model = getattr(self.result, section).model_copy(update={key: after})
        self.result = self.result.model_copy(update={section: model})
        old, new = (json.loads(json.dumps(value)) for value in (before, after))
        self.changes.append(Change(section, key, old, new, reason))
        return True

    def given(self, section: str, key: str) -> bool:
        """Whether the file or the command line sets the key."""
        source = self.loaded.source(section, key)
        return source != "default" and not source.startswith(ORIGINAL)
