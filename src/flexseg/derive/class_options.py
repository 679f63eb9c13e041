"""Classes as options of the command line give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from PIL import ImageColor

from flexseg.dataset.ignored.pixels import IGNORED, IgnoredPixels
from flexseg.dataset.labels import LabelClass, Rgb, make_classes
from flexseg.errors import ConfigError


def parse_labels(texts: Iterable[str]) -> tuple[LabelClass, ...]:
    """`1=spleen` and `2,3=lung` as classes in the order given, background first; () without any.

    Background is the class of that name, without one that of the value 0.

    Raises
    ------
    ConfigError : a text is not of that form, or a value occurs twice.
    """
    found: dict[str, list[int]] = {}
    seen: set[int] = set()
    for text in texts:
        left, _, name = text.partition("=")
        if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", left) or not name.strip():
            raise ConfigError(
                f"{text!r} does not name a class.",
                "Write VALUE=NAME or VALUE,VALUE=NAME, e.g. '1=spleen'.",
                "--label",
            )
        for value in map(int, left.split(",")):
            if value in seen:
                raise ConfigError(f"The value {value} occurs twice.", "Keep one.", "--label")
            seen.add(value)
            found.setdefault(name.strip(), []).append(value)
    if not found:
        return ()
    named = next((n for n in found if n.casefold() == "background"), None)
    empty = named or next((n for n, values in found.items() if 0 in values), None)
    background = found[empty] if empty else []
    if (named or not empty) and 0 not in seen:
        background = [*background, 0]
    foreground = _foreground(found, empty, "--label")
    first, *rest = make_classes([(name, tuple(found[name])) for name in foreground])
    return (replace(first, values=tuple(background)), *rest)


def parse_colors(texts: Iterable[str]) -> tuple[LabelClass, ...]:
    """`255,0,0=lesion`, `#ff0000=lesion`, `red=lesion` as classes, background first; or ().

    Black is background too, unless a class has it.

    Raises
    ------
    ConfigError : a text is not of that form, or a colour occurs twice.
    """
    found: dict[str, list[Rgb]] = {}
    seen: set[Rgb] = set()
    for text in texts:
        left, _, name = (part.strip() for part in text.partition("="))
        try:
            numbers = re.fullmatch(r"(\d+)\s*,\s*(\d+)\s*,\s*(\d+)", left)
            channels = [int(n) for n in numbers.groups()] if numbers else ImageColor.getrgb(left)
            red, green, blue = channels[:3]
            if not name or max(channels) > 255:
                raise ValueError
        except ValueError:
            raise ConfigError(
                f"{text!r} does not assign a class to a colour.",
                "Write R,G,B=NAME, #RRGGBB=NAME or a colour name, e.g. '255,0,0=lesion'.",
                "--color",
            ) from None
        if (red, green, blue) in seen:
            raise ConfigError(f"The colour {left} occurs twice.", "Keep one.", "--color")
        seen.add((red, green, blue))
        found.setdefault(name, []).append((red, green, blue))
    if not found:
        return ()
    empty = next((name for name in found if name.casefold() in ("background", "0")), None)
    background = found[empty] if empty else []
    if (0, 0, 0) not in seen:
        background = [*background, (0, 0, 0)]
    return (
        LabelClass(0, "background", tuple(background)),
        *(
            LabelClass(i, name, tuple(found[name]))
            for i, name in enumerate(_foreground(found, empty, "--color"), start=1)
        ),
    )


def parse_ignored(texts: Iterable[str]) -> IgnoredPixels | None:
    """`255`, `224,224,192` or `#e0e0c0`: values and colours that count in nothing; None without.

    Raises
    ------
    ConfigError : a text is neither.
    """
    marks: list[int | Rgb] = []
    for text in texts:
        numbers = [int(n) for n in re.findall(r"\d+", text)]
        if re.fullmatch(r"\d+", text.strip()):
            marks.append(numbers[0])
        elif re.fullmatch(r"\s*\d+\s*,\s*\d+\s*,\s*\d+\s*", text) and max(numbers) <= IGNORED:
            marks.append((numbers[0], numbers[1], numbers[2]))
        elif re.fullmatch(r"#[0-9a-fA-F]{6}", text.strip()):
            red, green, blue = ImageColor.getrgb(text.strip())[:3]
            marks.append((red, green, blue))
        else:
            raise ConfigError(
                f"{text!r} is neither a value nor a colour.",
                "Write a value such as 255, or R,G,B.",
                "--ignore",
            )
    return IgnoredPixels.of(marks) if marks else None


def _foreground(
    found: Mapping[str, Sequence[object]], background: str | None, option: str
) -> list[str]:
    """The names of all classes but the background. Raises ConfigError without any."""
    names = [name for name in found if name != background]
    if not names:
        raise ConfigError(
            "There is no class but the background.", "Name at least one other class.", option
        )
    return names


def parse_class_names(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """`liver={id}_liver` as (class name, mask pattern). Raises ConfigError if it is not so."""
    classes = []
    for text in texts:
        name, _, pattern = (part.strip() for part in text.partition("="))
        if not name or not pattern:
            raise ConfigError(
                f"{text!r} does not name a class.",
                "Write NAME=PATTERN, e.g. 'liver={id}_liver'.",
                "--class",
            )
        classes.append((name, pattern))
    if len({name for name, _ in classes}) < len(classes):
        raise ConfigError(
            "A class is named twice.",
            "Give one pattern per class; * matches several files.",
            "--class",
        )
    return tuple(classes)
