"""Damage: bits, bytes, pieces, numbers and values, chosen by a seeded generator."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

_NUMBERS = (
    b"0", b"-1", b"-3", b"1", b"2", b"255", b"256", b"65535", b"65536", b"2147483647",
    b"4294967296", b"-9223372036854775808", b"99999999999999999999", b"9" * 400, b"9" * 5000,
    b"1e9", b"1e309", b"nan", b"inf", b"-inf", b"0x10", b"1_0", b"1.5", b"", b"%d", b"%s%n",
)  # fmt: skip
_BINARY = (0, 1, 2, 7, 127, 128, 255, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
_VALUES = (
    "0", "-1", "1e400", "nan", "-inf", "10000000000", "9" * 5000, '""', '"x"', "[]", "[[]]", "{}",
    "true", "None", "[1, 2, 3, 4, 5, 6, 7]", '["a", 1]', "2024-01-01", '"~nouser/x"',
    '"/dev/zero"', '"\\u0000"', '"../../../../etc/passwd"', '"' + "x" * 5000 + '"',
    "[" * 3000 + "]" * 3000, "{" * 200, '"${HOME}"', '"%(x)s"', "__import__('os').system('true')",
    '"os:system"', '"[red]"', '"\\u001b[31m"', "[0.5, -0.5]", "(1, 2)", "1, 2", "lambda: 0",
    '"CON"', '"a\\\\b"', '"="', '"1/0"', "0.1", "1.0", '"auto"', '"all"', "-0.0",
)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A file with one to three kinds of damage."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(_DAMAGES)(content, rng)
    return content


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _near_start(content: bytes, rng: random.Random) -> bytes:
    """Another byte in the header, where formats keep their sizes."""
    changed = bytearray(content)
    if changed:
        changed[rng.randrange(min(len(changed), 400))] = rng.choice((0, 1, 127, 128, 255))
    return bytes(changed)


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    """A binary number of an extreme size."""
    code = rng.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q", "<f", ">f", "<d"))
    if code[1] in "fd":
        value: float = rng.choice((0.0, -1.0, float("inf"), float("nan"), 1e30))
    else:
        value = rng.choice(_BINARY) % (1 << 8 * struct.calcsize(code))
    data = struct.pack(code, value)
    at = rng.randrange(min(len(content), rng.choice((64, 600, 10**9))) or 1)
    return content[:at] + data + content[at + len(data) :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _remove(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.choice((1, 2, 16, 200)) :]


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.choice((1, 2, 16, 200))) + content[at:]


def _double(content: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(content) + 1), rng.choice((4, 64, 10**6))
    return content[:at] + content[at : at + length] + content[at:]


def _blank(content: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(content) + 1), rng.choice((4, 64, 1000))
    length = len(content[at : at + length])
    return content[:at] + rng.choice((b"\0", b"\xff", b" ")) * length + content[at + length :]


def _number(content: bytes, rng: random.Random) -> bytes:
    """Another number where one is written as text."""
    found = list(re.finditer(rb"-?\d+", content[:3000]))
    if not found:
        return _flip(content, rng)
    at = rng.choice(found)
    return content[: at.start()] + rng.choice(_NUMBERS) + content[at.end() :]


def _append(content: bytes, rng: random.Random) -> bytes:
    return content + rng.choice((b"\0" * 512, b"\n", rng.randbytes(30), content))


_DAMAGES = (
    _flip, _flip, _near_start, _near_start, _overwrite, _overwrite, _cut, _remove, _insert,
    _double, _blank, _number, _number, _append,
)  # fmt: skip


def absurd(text: str, rng: random.Random) -> str:
    """A config with one to three absurd values, lines or pieces."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        text = rng.choice(_ABSURDITIES)(text, rng)
    return text


def _value(text: str, rng: random.Random) -> str:
    """Another value of a key."""
    lines = text.split("\n")
    keyed = [i for i, line in enumerate(lines) if "=" in line and not line.startswith(" ")]
    if keyed:
        i = rng.choice(keyed)
        lines[i] = f"{lines[i].partition('=')[0]}= {rng.choice(_VALUES)}"
    return "\n".join(lines)


def _swapped(text: str, rng: random.Random) -> str:
    """The value of another key."""
    lines = text.split("\n")
    keyed = [i for i, line in enumerate(lines) if "=" in line and not line.startswith(" ")]
    if keyed:
        i, j = rng.choice(keyed), rng.choice(keyed)
        lines[i] = f"{lines[i].partition('=')[0]}= {lines[j].partition('=')[2]}"
    return "\n".join(lines)


def _line(text: str, rng: random.Random) -> str:
    """A line less, twice, elsewhere, or a new one."""
    lines = text.split("\n")
    i = rng.randrange(len(lines))
    line = lines.pop(i)
    action = rng.randrange(4)
    if action == 1:
        lines[i:i] = [line, line]
    elif action == 2:
        lines.insert(rng.randrange(len(lines) + 1), line)
    elif action == 3:
        new = rng.choice(("[model]", "[nothing]", "x = 1", "[[mask.classes]]", "=", "[", "\0", "é"))
        lines[i:i] = [line, new]
    return "\n".join(lines)


def _piece(text: str, rng: random.Random) -> str:
    """A character more, less or other, also such that text rarely holds."""
    at = rng.randrange(len(text) + 1)
    new = rng.choice(
        ("", '"', "'", "[", "]", "{", "\\", "\0", "\x1b", "\u202e", "\ud7ff", "9" * 50)
    )
    return text[:at] + new + text[at + rng.randrange(2) :]


def _number_in_text(text: str, rng: random.Random) -> str:
    found = list(re.finditer(r"-?\d+(\.\d+)?", text))
    if not found:
        return text
    at = rng.choice(found)
    return text[: at.start()] + rng.choice(_NUMBERS).decode() + text[at.end() :]


_ABSURDITIES = (_value, _value, _value, _swapped, _line, _piece, _number_in_text, _number_in_text)


_JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 0.5, -0.0, 1e9, 1e308, 10**9, 10**30, 2**63, 65536,
    float("nan"), float("inf"), "", "x", "x" * 5000, "\0", "\x1b[31m", "\ud7ff", "[red]", "CON",
    "os:system", "../../../etc/passwd", "/dev/zero", "auto", "1", "=1", [], {}, [[]], [None],
    ["a", 1], [1, 2], [-1, 0], [1e309] * 3, [0] * 1000, {"": 0}, {"0": {"0": {}}},
)  # fmt: skip


def absurd_json(text: str, rng: random.Random) -> str:
    """A description in JSON of which one to three values are absurd, missing, or those of others."""
    content = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = _changed(content, rng)
    return json.dumps(content)


def _changed(content: Any, rng: random.Random) -> Any:
    places = list(_places(content))
    if not places or rng.random() < 0.03:
        return deepcopy(rng.choice(_JSON_VALUES))
    holder, key = rng.choice(places)
    action = rng.randrange(6)
    if action == 0:
        del holder[key]
    elif action == 1:
        other, its_key = rng.choice(places)
        holder[key] = deepcopy(other[its_key])
    elif action == 2 and isinstance(holder[key], int | float):
        holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] * 1000))
    else:
        holder[key] = deepcopy(rng.choice(_JSON_VALUES))
    return content


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """All holders of values and the keys of these."""
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield content, key
            yield from _places(value)


def is_guarded(old: bytes, new: bytes, guarded: tuple[tuple[int, int], ...]) -> bool:
    """Whether all that differs lies in guarded bytes of the old content, or is cut off its end."""
    if new == old[: len(new)]:
        return True
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old))
    same_end = 0
    most = min(len(old), len(new)) - start
    while same_end < most and old[-1 - same_end] == new[-1 - same_end]:
        same_end += 1
    if len(old) == len(new):
        changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        return all(any(a <= i < b for a, b in guarded) for i in changed)
    return any(a <= start and len(old) - same_end <= b for a, b in guarded)
