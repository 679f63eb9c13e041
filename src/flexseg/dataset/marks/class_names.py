"""Names that a user gives to classes: "1=cytoplasm,2=nucleus"."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.marks.made_up_names import made_up_name
from flexseg.errors import ConfigError

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_EXAMPLE = "Write ID=NAME with commas between, e.g. '1=cytoplasm,2=nucleus'."


def parse_class_names(text: str, where: str) -> dict[int, str]:
    """Class id -> name of a text "ID=NAME,ID=NAME"; a comma within a name stays one.

    Parameters
    ----------
    where : the option, for errors.

    Raises
    ------
    ConfigError : it is written otherwise, or an id or a name comes twice.
    """
    parts = [part.partition("=") for part in re.split(r",(?=[^,=]*=)", text)]
    names: dict[int, str] = {}
    for key, sign, value in parts:
        number, name = key.strip(), value.strip()
        if not (sign and name.isprintable() and name and number.isascii() and number.isdigit()):
            raise ConfigError(f"{text!r} does not name classes.", _EXAMPLE, where)
        if int(number) in names:
            raise ConfigError(
                f"The class {int(number)} is given two names.", "Give it one name.", where
            )
        names[int(number)] = name
    return names


def renamed(labels: LabelMap, names: Mapping[int, str], where: str) -> LabelMap:
    """The same classes with other names.

    Parameters
    ----------
    names : class id -> name; the other classes keep theirs.
    where : what named them, for errors.

    Raises
    ------
    ConfigError : there is no such class, or two have one name then.
    """
    known = ", ".join(f"{c.id} ({c.name})" for c in labels.foreground)
    if unknown := [i for i in names if i not in range(1, len(labels.classes))]:
        what = "is the background" if unknown[0] == 0 else "is not a class"
        raise ConfigError(
            f"{unknown[0]} {what}.",
            f"Give ids of classes, not values of masks; the classes are {known}.",
            where,
        )
    classes = tuple(replace(c, name=names.get(c.id, c.name)) for c in labels.classes)
    counts = Counter(c.name.casefold() for c in classes)
    if double := next((c.name for c in classes if counts[c.name.casefold()] > 1), None):
        raise ConfigError(
            f"Two classes would be called {double!r}.",
            f"Give each a name of its own. The classes are {known}.",
            where,
        )
    return replace(labels, classes=classes)


def quoted(name: str) -> str:
    """A class's name as sentences that are kept in files name it, so that it can be renamed."""
    return json.dumps(name, ensure_ascii=False)


def requoted(text: str, names: Mapping[str, str]) -> str:
    """A sentence with other names of classes where `quoted` ones stand; other words stay.

    Parameters
    ----------
    names : name so far -> new one.
    """
    words = {quoted(before): quoted(after) for before, after in names.items()}
    return _QUOTED.sub(lambda match: words.get(match[0], match[0]), text)


def renumbered(classes: Iterable[LabelClass]) -> tuple[LabelClass, ...]:
    """Classes with the ids 1, 2, ... in their order, which made-up names follow."""
    return tuple(
        replace(c, id=i, name=made_up_name(i) if c.name == made_up_name(c.id) else c.name)
        for i, c in enumerate(classes, start=1)
    )
