"""A config that changes value by value, each with its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flexseg.config.legacy_keys import COMMAND_LINE, ORIGINAL
from flexseg.config.schema import Experiment
from flexseg.runs.manifest import Change


def from_shell(sources: Mapping[str, str], section: str, key: str) -> bool:
    """Whether the command line gives a value, which then stays.

    Parameters
    ----------
    sources : "section.key" -> where its value came from.
    """
    return sources.get(f"{section}.{key}", "").startswith(COMMAND_LINE)


class Draft:
    """A config whose values change one by one, with the reasons.

    Parameters
    ----------
    sources : "section.key" -> where its value came from; keys that are absent have the default.

    Attributes
    ----------
    result : the config with all changes.
    """

    def __init__(self, experiment: Experiment, sources: Mapping[str, str]) -> None:
        self.result = experiment
        self.sources = sources
        self.changes: list[Change] = []

    def set(self, section: str, key: str, after: Any, reason: str) -> bool:
        """Change a value, unless it is the same or the command line gave it; whether it did."""
        before = getattr(getattr(self.result, section), key)
        if before == after or from_shell(self.sources, section, key):
            return False
        model = getattr(self.result, section).model_copy(update={key: after})
        self.result = self.result.model_copy(update={section: model})
        old, new = (json.loads(json.dumps(value)) for value in (before, after))
        change = Change(section=section, key=key, before=old, after=new, reason=reason)
        self.changes.append(change)
        return True

    def given(self, section: str, key: str) -> bool:
        """Whether the file or the command line sets the key."""
        source = self.sources.get(f"{section}.{key}")
        return source is not None and not source.startswith(ORIGINAL)
