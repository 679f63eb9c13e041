"""Writing a config as TOML, with comments: a new one, or one that says the same as another."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flexseg.config.base import PathRole, Section
from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import Experiment
from flexseg.config.tune import ValueRange
from flexseg.errors import ConfigError
from flexseg.machine import real_path
from flexseg.outputs import write_text
from flexseg.storage.urls import url_of

_WIDTH = 98
_BARE = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@dataclass(frozen=True)
class Choice:
    """A value of a config, and why it is the right one.

    Attributes
    ----------
    section, key : where it belongs.
    value : of the key's type; paths are absolute.
    reason : one line for people, which becomes the comment above it.
    """

    section: str
    key: str
    value: object
    reason: str = ""


def config_text(
    head: Sequence[str],
    choices: Sequence[Choice],
    classes: Sequence[Mapping[str, object]],
    folder: Path,
) -> str:
    """The text of a new config, with the reason for each value above it.

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
        known = [key for key in keys if key in sections.get(section, {})]
        own = {key: sections[section][key] for key in (*known, *sections.get(section, {}))}
        tables = {key: c.value for key, c in own.items() if isinstance(c.value, dict)}
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
        for key, table in tables.items():
            lines += ["", *_comment(own[key].reason), f"[{section}.{key}]"]
            lines += [f"{toml_key(name)} = {toml_value(value)}" for name, value in table.items()]
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


def write_config(
    path: Path,
    loaded: LoadedConfig,
    *,
    head: Sequence[str] = (),
    comments: Mapping[str, str] | None = None,
) -> list[str]:
    """Write what a config says, defaults left out, as a TOML file in another place.

    Paths of inputs become relative to the new file; outputs stay relative to `[train] run_dir`.

    Parameters
    ----------
    loaded : the config with all its overrides.
    head : comments above.
    comments : "section.key" -> what stands behind the value.

    Returns
    -------
    list[str]
        "section.key=none" of the values that TOML cannot say; they stand in the file as a comment.
    """
    keys: dict[str, list[str]] = {}
    for name in loaded.sources:
        section, _, key = name.partition(".")
        keys.setdefault(section, []).append(key)
    order = list(Experiment.model_fields)
    parts = {name: getattr(loaded.experiment, name) for name in sorted(keys, key=order.index)}
    inexpressible = [
        f"{section}.{key}=none"
        for section, part in parts.items()
        for key in keys[section]
        if _is_inexpressible(part, key)
    ]
    lines = [f"# {line}".rstrip() for line in head]
    if inexpressible:
        sets = " ".join(f"--set {text}" for text in inexpressible)
        lines.append(f"# TOML has no word for 'none': this config needs {sets}")
    folders = {"input": path.parent, "output": loaded.experiment.train.run_dir}
    for section, part in parts.items():
        lines += _section(section, part, keys[section], folders, comments or {})
    write_text(path, "\n".join(lines).lstrip("\n") + "\n")
    return inexpressible


def differences(path: Path, loaded: LoadedConfig) -> list[str]:
    """The keys ("section.key") in which a written config says something else; outputs aside.

    Raises
    ------
    ConfigError : the file cannot be read.
    """
    written, meant = load(path).experiment, loaded.experiment
    return [
        f"{section}.{key}"
        for section in Experiment.model_fields
        for key, field in type(getattr(meant, section)).model_fields.items()
        if getattr(getattr(written, section), key) != getattr(getattr(meant, section), key)
        and not any(isinstance(m, PathRole) and m.kind == "output" for m in field.metadata)
        and f"{section}.{key}" != "train.run_dir"
    ]


def _is_inexpressible(part: Section, key: str) -> bool:
    field = type(part).model_fields.get(key)
    has_none = field is not None and field.get_default(call_default_factory=True) is None
    return getattr(part, key) is None and not has_none


def _section(
    section: str,
    part: Section,
    keys: Sequence[str],
    folders: Mapping[str, Path],
    comments: Mapping[str, str],
) -> list[str]:
    """The lines of a section.

    Parameters
    ----------
    folders : what paths are relative to, by the role of their key.
    """
    plain, tables = [], []
    for key in keys:
        value = getattr(part, key)
        if value is None:
            continue
        if section == "mask" and key == "classes":
            for one in value:
                tables += ["", "[[mask.classes]]"]
                tables += [
                    f"{name} = {toml_value(entry)}"
                    for name, entry in one.model_dump(exclude_unset=True).items()
                    if entry is not None
                ]
            continue
        if section == "tune" and key == "space":
            tables += ["", "[tune.space]"]
            tables += [
                f"{toml_key(name)} = {toml_value(_spec(spec))}" for name, spec in value.items()
            ]
            continue
        field = type(part).model_fields.get(key)
        role = _role(field.metadata) if field else None
        if isinstance(value, Path) and role is not None:
            value = relative_path(value, folders[role.kind])
        comment = comments.get(f"{section}.{key}")
        plain.append(f"{key} = {toml_value(value)}" + (f"  # {comment}" if comment else ""))
    return ["", f"[{section}]", *plain, *tables] if plain else tables


def _role(metadata: Sequence[object]) -> PathRole | None:
    return next((entry for entry in metadata if isinstance(entry, PathRole)), None)


def _spec(spec: object) -> object:
    return spec.model_dump(exclude_unset=True) if isinstance(spec, ValueRange) else spec


def relative_path(path: Path, base: Path) -> str:
    """A path as seen from a folder, with '/'; absolute from another drive; the URL of a copy."""
    if (url := url_of(path)) is not None and url_of(base) is None:
        return url
    try:
        relative = Path(os.path.relpath(path, base))
    except ValueError:  # another drive on Windows
        return path.as_posix()
    # "..", from a folder that is a link, leads elsewhere.
    leads_there = real_path(base / relative) == real_path(path)
    return (relative if leads_there else real_path(path)).as_posix()


def toml_key(name: str) -> str:
    """A key as TOML, in quotes where it needs them."""
    return name if set(name) <= _BARE else json.dumps(name, ensure_ascii=False)


def toml_value(value: object) -> str:
    """A value as TOML.

    Raises
    ------
    ConfigError : there is no such value in TOML.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float):
        return repr(float(value))  # NumPy's own says more
    if isinstance(value, str | Path):
        _refuse_undecoded(str(value))
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        entries = (f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items() if v is not None)
        return f"{{ {', '.join(entries)} }}"
    raise ConfigError(f"TOML cannot express {value!r}.", "Leave it out.", None)


def _refuse_undecoded(text: str) -> None:
    """File names of systems that name files in bytes may be no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"The name {text.encode(errors='replace').decode()!r} is not UTF-8, so TOML cannot "
            "express it.",
            "Rename the file or folder.",
            None,
        ) from None
