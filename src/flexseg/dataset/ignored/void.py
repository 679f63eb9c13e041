"""Void that masks hold without anyone saying so: PASCAL VOC's 255, an "ignore" label, -1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from flexseg.config.findings import Finding, Severity
from flexseg.dataset.ignored.pixels import IGNORED, VOID, IgnoredPixels, Rgb
from flexseg.dataset.looks import MaskLook, packed_counts

_NAMES = ("ignore", "ignored", "void", "ignore label", "__ignore__")
_FULL = (255, 65535)
# Of classes beside a void; higher numbers are rather grey values.
_HIGHEST_ID = 200
# Less of the pixels of a value lie among their like: it is a shade of edges, or noise.
_THIN = 0.05
# So much of all pixels may be the background rather than void.
_MOST = 0.5


def void_value(sets: Iterable[Collection[int]], names: Mapping[int, str]) -> int | None:
    """The value of void among those of all masks, None if there is none.

    It is a value that has such a name, the one negative value, or 255 (65535) where it occurs in a
    mask beside others, and these number classes: at least every second number from 1 on is there.

    Parameters
    ----------
    sets : the values of each mask.
    names : of some values.
    """
    marked = {frozenset(values) - {0} for values in sets}
    found = set[int]().union(*marked)
    named = [v for v in found if is_void(names.get(v, ""))]
    negative = [v for v in found if v < 0]
    for sure in (named, negative):
        if len(sure) == 1:
            return sure[0]
    for void in _FULL:
        ids = found - {void}
        beside = any(void in values and len(values) > 1 for values in marked)
        if beside and ids and max(ids) <= min(2 * len(ids), _HIGHEST_ID):
            return void
    return None


def is_void(name: str) -> bool:
    """Whether a name says that pixels count in nothing."""
    return name.casefold() in _NAMES


def find_void(
    masks: Sequence[MaskLook], names: Mapping[int, str], color: Rgb | None = None
) -> IgnoredPixels | None:
    """What masks hold that is no class: the colour that PASCAL VOC paints its void in, beside
    others, or a value, see `void_value`.

    Parameters
    ----------
    color : that a table calls void.
    """
    exact = [m for m in masks if not (m.entries.one_hot or m.entries.lossy)]
    if color is not None:
        told = IgnoredPixels.of([color])
        if any(told.where(m.entries, ()).any() for m in exact):
            return told
    voc, black = IgnoredPixels.of([VOID]), IgnoredPixels.of([VOID, (0, 0, 0)])
    painted = [m.entries for m in exact if voc.where(m.entries, ()).any()]
    if painted and not all(black.where(m.entries, ()).all() for m in exact):
        indices = {v for m in painted for v in m.pixels[voc.where(m, ())].ravel().tolist()}
        indexed = all(m.palette is not None for m in painted)
        return IgnoredPixels.of([IGNORED if indexed and indices == {IGNORED} else VOID])
    value = void_value(_solid_values(exact, names), names)
    return None if value is None else IgnoredPixels.of([value])


def _solid_values(masks: Sequence[MaskLook], names: Mapping[int, str]) -> set[frozenset[int]]:
    """The sets of values that grey and indexed masks have, without edges and noise everywhere.

    Void may be nothing but edges, where its value says that it is no shade between classes.
    """
    pixels, core = Counter[int](), Counter[int]()
    sets: set[frozenset[int]] = set()
    for mask in masks:
        values = _values(mask)
        pixels.update(dict(zip(values, mask.pixels.tolist(), strict=True)))
        core.update(dict(zip(values, mask.core.tolist(), strict=True)))
        sets.add(frozenset(values))
    sure = {v for v in pixels if v in _FULL or v < 0 or is_void(names.get(v, ""))}
    solid = {v for v in pixels if core[v] >= _THIN * pixels[v]} | sure
    return {own & solid for own in sets}


def _values(mask: MaskLook) -> list[int]:
    """The value or index of each entry; of colours none."""
    pixels = mask.entries.pixels[0]
    if pixels.ndim == 2:
        pixels = pixels[:, 0] if (pixels == pixels[:, :1]).all() else np.zeros(len(pixels))
    return [int(v) for v in np.rint(pixels).tolist()]


def without_void(masks: Sequence[MaskLook], void: IgnoredPixels) -> list[MaskLook]:
    """The masks without their ignored values."""
    kept = []
    for mask in masks:
        keep = ~void.where(mask.entries, ())[0]
        entries = replace(mask.entries, pixels=mask.entries.pixels[:, keep])
        kept.append(replace(mask, entries=entries, packed=packed_counts(mask.counts[:, keep])))
    return kept


def share_of(masks: Sequence[MaskLook], ignored: IgnoredPixels) -> float:
    """The share of the pixels of all masks that is ignored."""
    total = sum(int(m.pixels.sum()) for m in masks)
    pixels = sum(int(m.pixels[ignored.where(m.entries, ())[0]].sum()) for m in masks)
    return pixels / max(total, 1)


def void_finding(void: IgnoredPixels, share: float) -> Finding:
    """What a user should know of void that was found."""
    return Finding(
        Severity.WARNING,
        "data",
        "void",
        "masks",
        f"{share:.2%} of the mask pixels are {void}, which is taken for void (not annotated): "
        "they count in no loss, metric or statistic.",
        "If it is a class, remove [mask] ignore and name it in [[mask.classes]]"
        + ("; if it is the background, with id = 0." if share > _MOST else "."),
    )
