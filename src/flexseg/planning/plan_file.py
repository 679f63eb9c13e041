"""A plan as a TOML file that people read: above each value stands why it is so."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flexseg.config.schema import Experiment
from flexseg.config.text import relative_path, toml_key, toml_value
from flexseg.planning.choice import Choice

_WIDTH = 98


def plan_text(
    head: Sequence[str],
    choices: Sequence[Choice],
    classes: Sequence[Mapping[str, Any]],
    folder: Path,
) -> str:
    """The text of a config.

    Parameters
    ----------
    head : comments above.
    classes : the tables `[[mask.classes]]`.
    folder : where the file will be; paths of inputs are relative to it.
    """
    lines = [part for line in head for part in _comment(line)]
    sections: dict[str, dict[str, Choice]] = {}
    for choice in choices:
        sections.setdefault(choice.section, {})[choice.key] = choice
    for section in sorted({*sections, "mask"}, key=list(Experiment.model_fields).index):
        keys = list(type(getattr(Experiment(), section)).model_fields)
        own = dict(sorted(sections.get(section, {}).items(), key=lambda item: keys.index(item[0])))
        tables = [key for key, choice in own.items() if isinstance(choice.value, dict)]
        plain = [choice for key, choice in own.items() if key not in tables]
        if plain:
            lines += ["", f"[{section}]"]
        for choice in plain:
            value = choice.value
            if isinstance(value, Path):
                value = relative_path(value, folder)
            if choice.reason:
                lines += _comment(choice.reason)
            lines.append(f"{choice.key} = {toml_value(value)}")
        for key in tables:
            lines += ["", *_comment(own[key].reason), f"[{section}.{key}]"]
            lines += [
                f"{toml_key(name)} = {toml_value(value)}" for name, value in own[key].value.items()
            ]
        if section == "mask":
            for one in classes:
                lines += ["", "[[mask.classes]]"]
                lines += [f"{key} = {toml_value(value)}" for key, value in one.items()]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    # Names of classes and folders may hold anything; TOML allows no control characters.
    shown = "".join(c if c.isprintable() else " " for c in text)
    wrapped = textwrap.wrap(shown, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped] or [""]
