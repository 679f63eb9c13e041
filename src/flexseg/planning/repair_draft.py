"""A config that changes value by value, each with its reason."""

from __future__ import annotations

import json
from typing import Any

from flexseg.config.legacy_keys import COMMAND_LINE, ORIGINAL
from flexseg.config.load import LoadedConfig
from flexseg.runs.manifest import Change


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
        change = Change(section=section, key=key, before=old, after=new, reason=reason)
        self.changes.append(change)
        return True

    def given(self, section: str, key: str) -> bool:
        """Whether the file or the command line sets the key."""
        source = self.loaded.source(section, key)
        return source != "default" and not source.startswith(ORIGINAL)
