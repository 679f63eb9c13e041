"""The antillia.com `.config` syntax, read as data.

The original systems pass every value to `eval` and fall back to a default, silently, when
anything goes wrong. Here a value is a Python literal or an error that names its line, and
what a key means is decided by the tables below: where it lives now, what other names it
had, and which keys nobody ever read.
"""

from __future__ import annotations

import ast
import configparser
import difflib
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flexseg.config.findings import Finding, Severity
from flexseg.config.legacy_keys import (
    ALIASES,
    COMMAND_LINE,
    DEAD_KEYS,
    DEAD_SECTIONS,
    Key,
)
from flexseg.errors import ConfigError


@dataclass
class RawConfig:
    """Values by (section, key) as written, where each came from, and what was found.

    `errors` are collected, so that all faults of a file are told at once.
    """

    file: str = ""
    values: dict[Key, object] = field(default_factory=dict)
    sources: dict[Key, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    errors: list[ConfigError] = field(default_factory=list)

    def warn(self, severity: Severity, code: str, where: str, what: str, fix: str = "") -> None:
        """Add a finding about the config."""
        self.findings.append(Finding(severity, "config", code, where, what, fix))

    def as_sections(self) -> dict[str, dict[str, object]]:
        """The values nested by section."""
        nested: dict[str, dict[str, object]] = {}
        for (section, key), value in self.values.items():
            nested.setdefault(section, {})[key] = value
        return nested


def _line_numbers(text: str) -> dict[Key, int]:
    """The line of each `key = value`, counted from 1."""
    lines: dict[Key, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\]]+)\]", line):
            section = header.group(1)
        elif option := re.match(r"([^\s=:;#\[][^=:]*?)\s*[=:]", line):
            lines[section, option.group(1).lower()] = number
    return lines


def decode(path: Path) -> str:
    """The text of a config file: UTF-8, or Japanese Windows text as old comments may be.

    Raises
    ------
    ConfigError : the file is neither.
    """
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "cp932"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError("This is not a text file in UTF-8.", "Save the file as UTF-8.", str(path))


def literal(text: str, where: str) -> object:
    """A Python literal (number, string, list, tuple, dict, True, False, None).

    Raises
    ------
    ConfigError : `text` is none; the message proposes what was probably meant.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, about "\i" in a Windows path
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ConfigError(
            f"{text.strip()!r} is not a Python literal, so its meaning is unknown.",
            _literal_hint(text.strip()),
            where,
        ) from None


def _literal_hint(text: str) -> str:
    if not text:
        return "Give a value, or remove the key to take its default."
    if ";" in text:
        return "Remove the ';' comment after the value: only '#' may start one there."
    if near := difflib.get_close_matches(text.capitalize(), ["True", "False", "None"], cutoff=0.6):
        return f"Did you mean {near[0]}?"
    if re.fullmatch(r"[\w./\\:-]+", text):
        return f'Text needs quotes: "{text}".'
    if re.search(r"\d\.\s", text):
        return "A comma seems to be missing in the list (or a '.' was written in its place)."
    return "Numbers, quoted text, [lists], (tuples), {maps}, True, False and None are possible."


def read(path: Path) -> RawConfig:
    """Read an old config file: every value a literal, every key in its canonical place.

    Parse errors, duplicates and values that are no literals are among the `errors` of the result.

    Raises
    ------
    ConfigError : the file is no text.
    """
    text = decode(path)
    raw = RawConfig(path.name)
    raw.errors += _duplicates(text, path)
    parser = configparser.ConfigParser(strict=False)
    try:
        try:
            parser.read_string(text)
        except configparser.MissingSectionHeaderError as error:
            raw.errors.append(
                ConfigError(
                    f"{error.line.strip()!r} comes before any [section].",
                    "Start the file with [model], or name it *.toml if it is TOML.",
                    f"{path}, line {error.lineno}",
                )
            )
            parser.read_string(_from_first_section(text))
    except configparser.ParsingError as error:
        if isinstance(error, configparser.MissingSectionHeaderError):
            faults = [(error.lineno, repr(error.line))]
        else:
            faults = error.errors
        raw.errors += [
            ConfigError(
                f"{line} is neither a [section], a key = value, nor a comment.",
                "Write 'key = value', or start the line with ';'.",
                f"{path}, line {number}",
            )
            for number, line in faults
        ]
    lines = _line_numbers(text)
    for section in parser.sections():
        if section in DEAD_SECTIONS:
            raw.warn(
                Severity.NOTE,
                "dead-section",
                f"[{section}]",
                f"Without effect: {DEAD_SECTIONS[section]}.",
            )
            continue
        for key in parser[section]:
            number = lines.get((section, key))
            source = f"line {number}" if number else path.name
            try:
                value = _value(parser[section], key, f"{path}, {source}")
            except ConfigError as error:
                raw.errors.append(error)
            else:
                enter(raw, (section, key), value, source)
    return raw


def _value(section: configparser.SectionProxy, key: str, where: str) -> object:
    try:
        text = section[key]
    except configparser.InterpolationError:
        raise ConfigError(
            f"The '%' in the value of {key!r} cannot be resolved.",
            "Write '%%' for a percent sign.",
            where,
        ) from None
    return literal(text, f"{where}, [{section.name}] {key}")


def _duplicates(text: str, path: Path) -> Iterator[ConfigError]:
    """Sections and keys that stand twice; each that is found makes way for the next."""
    lines = list(io.StringIO(text))  # as the parser counts them
    while True:
        try:
            configparser.ConfigParser().read_string("".join(lines))
        except configparser.DuplicateOptionError as error:
            number = error.lineno or 1
            lines[number - 1] = "\n"
            problem = f"key {error.option!r} occurs twice in [{error.section}]"
            fix = "Remove one of the two lines."
        except configparser.DuplicateSectionError as error:
            number = error.lineno or 1
            lines[number - 1] = f"[{error.section} {number}]\n"
            problem = f"section [{error.section}] occurs twice"
            fix = "Join the two into one."
        except configparser.Error:
            return
        else:
            return
        yield ConfigError(f"The {problem}.", fix, f"{path}, line {number}")


def _from_first_section(text: str) -> str:
    """A text whose lines before its first [section] are empty."""
    before, header, after = text.partition("\n[")
    return "\n" * (before.count("\n")) + header + after


def enter(raw: RawConfig, key: Key, value: object, source: str) -> None:
    """Put one value in its canonical place, unless a better source already gave it."""
    where = f"{source}, [{key[0]}] {key[1]}"
    home = ALIASES.get(key, key)
    if reason := DEAD_KEYS.get(key):
        raw.warn(Severity.NOTE, "dead-key", where, f"Without effect: {reason}.")
        return
    if home in raw.values and source != COMMAND_LINE:
        # [valid] wins over [eval], and any key over its older spellings.
        if home == key:
            raw.values[home], raw.sources[home] = value, source
        raw.warn(
            Severity.NOTE,
            "alias-twice",
            where,
            f"[{home[0]}] {home[1]} is given more than once; the value under its own name is used.",
        )
        return
    raw.values[home] = value
    raw.sources[home] = source if home == key else f"{source} as [{key[0]}] {key[1]}"


def family_of(raw: RawConfig) -> str:
    """The family whose defaults hold, see `family_of_network`."""
    values = raw.values
    return family_of_network(
        str(values.get(("model", "model"), "")), values.get(("model", "num_classes"))
    )


def family_of_network(name: str, num_classes: object) -> str:
    """The family of an old config's network: "multiclass" (…Flex…) or "single-class"."""
    if "flex" in name.lower().replace("slightlyflexible", ""):
        return "multiclass"
    if name.lower().startswith("tensorflow") or not name:
        return "single-class"
    return "single-class" if num_classes == 1 else "multiclass"


def network_of(raw: RawConfig) -> str:
    """The network without the prefix of its family, small letters; "unet" if none is named."""
    name = str(raw.values.get(("model", "model"), "unet")).lower()
    return name.removeprefix("tensorflow").removeprefix("slightlyflexible").removeprefix("flex")
