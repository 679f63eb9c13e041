"""The text of a TOML config with other names of classes; all else stays, comments too."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flexseg.config.text import toml_value
from flexseg.dataset.marks.class_names import requoted
from flexseg.errors import ConfigError

# A header, not a list of values.
_HEADER = re.compile(r"^\s*\[{1,2}\s*[A-Za-z0-9_\". -]+\]{1,2}\s*(#.*)?$")
_MASK = re.compile(r"^\s*\[\s*mask\s*\]")
_INLINE = re.compile(r"\{[^{}]*\}")
_ID = re.compile(r"\bid\s*=\s*(\d+)")
_NAME = re.compile(r'\bname\s*=\s*(?:"(?:[^"\\]|\\.)*"|\'[^\']*\')')
_CLASSES = re.compile(r"^\s*\[\[\s*mask\s*\.\s*classes\s*\]\]")
_POSTPROCESS = re.compile(r"^\s*\[\s*postprocess\b")
_KEY = re.compile(r"^(\s*)(id|name)(\s*=\s*)(.*?)(\s*(?:#.*)?)$")


def renamed_text(path: Path, names: Mapping[int, tuple[str, str]]) -> str:
    """The text of a config whose tables `[[mask.classes]]` have other names.

    `[postprocess]`, which names classes too, follows.

    Parameters
    ----------
    names : class id -> name so far, and the new one.

    Raises
    ------
    ConfigError : the text is written so that only a person can change it.
    """
    text = path.read_bytes().decode()
    lines = text.splitlines(keepends=True)
    changed: dict[int, str] = {}
    for header, block in _sections(lines):
        if _CLASSES.match(header):
            changed |= _renamed_table(lines, block, names)
        elif _MASK.match(header):
            whole = _INLINE.sub(lambda m: _renamed_inline(m[0], names), _joined(lines, block))
            changed |= dict.fromkeys(block, "") | ({block[0]: whole} if block else {})
        elif _POSTPROCESS.match(header):
            changed |= {n: requoted(lines[n], dict(names.values())) for n in block}
    new = "".join(changed.get(number, line) for number, line in enumerate(lines))
    if _parsed(new) != _renamed_content(_parsed(text), names):
        raise ConfigError(
            "The names of the classes are written in a form that flexseg cannot change.",
            "Change them there yourself; trained networks and their results take them from the "
            "config.",
            str(path),
        )
    return new


def _sections(lines: list[str]) -> Iterator[tuple[str, list[int]]]:
    """Each header with the numbers of the lines below it."""
    header, block = "", list[int]()
    for number, line in enumerate(lines):
        if _HEADER.match(line):
            yield header, block
            header, block = line, []
        else:
            block.append(number)
    yield header, block


def _joined(lines: list[str], block: list[int]) -> str:
    return "".join(lines[number] for number in block)


def _renamed_inline(table: str, names: Mapping[int, tuple[str, str]]) -> str:
    """`{ id = 1, name = "..." }` with another name."""
    found = _ID.search(table)
    if found is None or int(found[1]) not in names:
        return table
    name = f"name = {toml_value(names[int(found[1])][1])}"
    if _NAME.search(table):
        return _NAME.sub(lambda _: name, table)
    return f"{table[: found.end()]}, {name}{table[found.end() :]}"


def _renamed_table(
    lines: list[str], block: list[int], names: Mapping[int, tuple[str, str]]
) -> dict[int, str]:
    """Line number -> new line, of one table."""
    matches = ((number, _KEY.match(lines[number].rstrip("\r\n"))) for number in block)
    keys = {found[2]: (number, found) for number, found in matches if found}
    if "id" not in keys or not keys["id"][1][4].isdigit():
        return {}
    number, found = keys.get("name", keys["id"])
    class_id = int(keys["id"][1][4])
    if class_id not in names:
        return {}
    line = lines[number]
    end = line[len(line.rstrip("\r\n")) :]
    name = f"{found[1]}name{found[3]}{toml_value(names[class_id][1])}"
    if "name" in keys:
        return {number: f"{name}{found[5]}{end}"}
    return {number: f"{line.rstrip()}{end or chr(10)}{name}{end}"}


def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))


def _renamed_content(
    content: dict[str, Any], names: Mapping[int, tuple[str, str]]
) -> dict[str, Any]:
    """What the new text has to say."""
    result = dict(content)
    if classes := content.get("mask", {}).get("classes"):
        named = [
            one | {"name": names[one["id"]][1]} if one.get("id") in names else one
            for one in classes
        ]
        result["mask"] = content["mask"] | {"classes": named}
    if steps := content.get("postprocess"):
        result["postprocess"] = renamed_steps(steps, dict(names.values()))
    return result


def renamed_steps(steps: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """`[postprocess]` for classes of other names.

    Parameters
    ----------
    names : name so far -> new one.
    """
    result: dict[str, Any] = {}
    for key, value in steps.items():
        if isinstance(value, list):
            result[key] = [names.get(v, v) for v in value]
        elif isinstance(value, dict):
            result[key] = {names.get(k, k): v for k, v in value.items()}
        else:
            result[key] = value
    return result
