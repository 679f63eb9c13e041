"""Classes that are sides by their names: "left lung", "kidney_R", "Hippocampus links"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Side = Literal["left", "right"]

# Words for a side as labels have them: English with its abbreviations, Latin, German, Dutch,
# French, Spanish, Italian, Portuguese.
_LEFT = (
    "left lt lh sinister sinistra sinistrum links linke linker linkes gauche izquierdo izquierda "
    "sinistro esquerdo esquerda l"
)
_RIGHT = (
    "right rt rh dexter dextra dextrum rechts rechte rechter rechtes droit droite derecho derecha "
    "destro destra direito direita r"
)
_WORDS: dict[str, Side] = {
    **dict.fromkeys(_LEFT.split(), "left"),
    **dict.fromkeys(_RIGHT.split(), "right"),
}
# Of languages whose words are not parted.
_SIGNS: dict[str, Side] = {"左": "left", "右": "right"}
# Also other things than sides: only a pair is one.
_LETTERS = ("l", "r", "lt", "rt", "lh", "rh")


def named_sides(names: Iterable[str]) -> tuple[str, str] | None:
    """The names of a left and a right class, of the same organ if there are such ones."""
    first: dict[Side, str] = {}
    by_rest: dict[tuple[str, ...], dict[Side, str]] = {}
    for name in names:
        word, side, rest = _parted(name)
        if side is None:
            continue
        if word not in _LETTERS:
            first.setdefault(side, name)
        pair = by_rest.setdefault(rest, {})
        pair.setdefault(side, name)
        if len(pair) == 2:
            return pair["left"], pair["right"]
    return (first["left"], first["right"]) if len(first) == 2 else None


def one_side(names: Iterable[str]) -> str | None:
    """The first name that says a side by a whole word, also without its other side."""
    for name in names:
        word, side, _ = _parted(name)
        if side is not None and word not in _LETTERS:
            return name
    return None


def _parted(name: str) -> tuple[str, Side | None, tuple[str, ...]]:
    """The word for a side, the side, and the other words of a name."""
    for sign, side in _SIGNS.items():
        if sign in name:
            return sign, side, (name.replace(sign, ""),)
    # LeftLung and lungL are two words each.
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[\W_]+", parted.lower()) if word]
    for place, word in enumerate(words):
        if word in _WORDS:
            return word, _WORDS[word], (*words[:place], *words[place + 1 :])
    return "", None, tuple(words)
