"""What masks of unknown origin mean: classes, shades of blended edges, numbered objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from flexseg.config.findings import Finding, Severity
from flexseg.dataset.description import Description
from flexseg.dataset.ignored.pixels import IgnoredPixels
from flexseg.dataset.ignored.void import find_void, share_of, void_finding, without_void
from flexseg.dataset.labels import MAX_CLASSES, LabelClass
from flexseg.dataset.looks import MaskLook
from flexseg.errors import DataError
from flexseg.files.display import distinct_color

# A value with a smaller share of core pixels has no area of its own ...
_THIN = 0.05
# ... and is a shade of an edge if it is rare among the marked pixels, and not alone.
_RARE = 0.05
_FEW_SHADES = 2
# What compression leaves of a class: this share of all core pixels that are marked.
_LOSSY_SHARE = 0.005
# Nearer values than these are one, where edges are blended or masks compressed.
_NEAR, NEAR_LOSSY = 8, 24
# More solid values than these are no classes but objects with a number each.
_MAX_CLASSES = 64
_MAX_UNORDERED = 12
_MAX_IDS = 64
_MAX_LISTED = 255
# What programs write for "marked", in 1, 8 and 16 bits.
_MARKS = {1, 255, 65535}


@dataclass(frozen=True)
class MaskMeaning:
    """The foreground classes of masks.

    Attributes
    ----------
    unknown : what becomes of values in no class, see `[mask] unknown_colors`.
    threshold : see `[mask] threshold`; only for numbered objects in colour.
    ignored : see `[mask] ignore`; None: no void was found.
    """

    classes: tuple[LabelClass, ...]
    unknown: Literal["nearest", "error"] = "error"
    threshold: float | None = None
    findings: tuple[Finding, ...] = ()
    ignored: IgnoredPixels | None = None


@dataclass
class _Value:
    pixels: int = 0
    core: int = 0
    masks: int = 0


def meaning_of(
    masks: Sequence[MaskLook], described: Description | None, names: Mapping[int, str]
) -> MaskMeaning:
    """What the masks of a dataset mean: as its description says, else as they suggest.

    Parameters
    ----------
    names : of some values, see `flexseg.dataset.description.label_names`.

    Raises
    ------
    DataError : see `find_meaning`.
    """
    if described is not None and described.classes:
        return MaskMeaning(described.classes, ignored=described.ignored)
    void = find_void(masks, names)
    found = find_meaning(masks if void is None else without_void(masks, void))
    if void is not None:
        findings = (*found.findings, void_finding(void, share_of(masks, void)))
        found = replace(found, ignored=void, findings=findings)
    classes = tuple(
        replace(c, name=names[c.values[0]]) if len(c.values) == 1 and c.values[0] in names else c
        for c in found.classes
    )
    return replace(found, classes=classes)


def find_meaning(masks: Sequence[MaskLook]) -> MaskMeaning:
    """What all masks together suggest: black is background, each other value with areas a class.

    Raises
    ------
    DataError : no mask marks anything.
    """
    values, sets, by_color = _gathered(masks)
    scores = [m.entries.pixels.shape[-1] for m in masks if m.entries.one_hot]
    if scores and max(scores) > MAX_CLASSES:
        raise DataError(
            f"The masks hold scores of {max(scores)} classes, at most {MAX_CLASSES} are possible.",
            "Save them as [height, width, classes] with fewer classes.",
        )
    if scores:  # the channels are the classes, also those that no mask shows
        return _named(classes_of_values(range(1, max(scores))), "error", [])
    if not values:
        raise DataError(
            f"All {len(masks)} masks are empty: they hold nothing but 0 (black).",
            "Check that these are the masks; each value or colour besides black is a class.",
        )
    lossy = any(m.entries.lossy for m in masks)
    solid, blends = _without_shades(values, lossy, by_color)
    if lossy or blends:
        solid = _merged(solid, values, by_color, NEAR_LOSSY if lossy else _NEAR)
    findings = _blend_findings(values, solid, masks) if blends and not lossy else []
    nearest: Literal["nearest", "error"] = "nearest" if lossy or blends else "error"
    if _are_numbers(solid, sets, by_color):
        return _numbered(solid, by_color, nearest)
    if by_color:
        colors = [(k >> 16, k >> 8 & 255, k & 255) for k in solid]
        return _named(classes_of_colors(colors), nearest, findings)
    if len(solid) > 1 and set(solid) <= _MARKS and all(len(s & _MARKS) < 2 for s in sets):
        mark = classes_of_values([max(solid)])[0]
        one = LabelClass(1, mark.name, mark.colors, tuple(sorted(solid)))
        text = " and ".join(map(str, sorted(solid)))
        note = _note(
            "mask-dialects",
            f"Some masks mark with one value, some with another ({text}): both mean one class.",
        )
        return _named([one], nearest, [*findings, note])
    return _named(classes_of_values(sorted(solid)), nearest, findings)


def _gathered(masks: Sequence[MaskLook]) -> tuple[dict[int, _Value], list[set[int]], bool]:
    """All values but 0 (or colours, if any mask has some), and the set of each mask."""
    tables = [m.keys() for m in masks]
    by_color = any(in_color for _, in_color in tables)
    values: dict[int, _Value] = {}
    sets = []
    for mask, (keys, in_color) in zip(masks, tables, strict=True):
        packed = np.clip(keys, 0, 255) * 0x010101 if by_color and not in_color else keys
        own: set[int] = set()
        for key, pixels, core in zip(
            packed.tolist(), mask.pixels.tolist(), mask.core.tolist(), strict=True
        ):
            if key == 0 or core < 0:
                continue
            value = values.setdefault(key, _Value())
            value.pixels += pixels
            value.core += core
            value.masks += key not in own
            own.add(key)
        sets.append(own)
    return values, sets, by_color


def _without_shades(
    values: dict[int, _Value], lossy: bool, by_color: bool
) -> tuple[list[int], bool]:
    """The values that have areas of their own, and whether there are others."""
    marked = sum(v.pixels for v in values.values())
    if lossy:
        # Compression makes an even 1 or 2 of black, too.
        far = {k: v for k, v in values.items() if _distance(k, 0, by_color) > NEAR_LOSSY}
        core = sum(v.core for v in (far or values).values())
        solid = [k for k, v in (far or values).items() if v.core > _LOSSY_SHARE * core]
    else:
        solid = [
            k for k, v in values.items() if v.core >= _THIN * v.pixels or v.pixels >= _RARE * marked
        ]
        # Small numbers are ids of classes: shades reach up to white.
        if len(values) - len(solid) <= _FEW_SHADES or max(values) < _MAX_IDS:
            return list(values), False
    if not solid:  # lines that are one pixel wide
        solid = [max(values, key=lambda k: values[k].pixels)]
    return solid, len(solid) < len(values)


def _merged(solid: list[int], values: dict[int, _Value], by_color: bool, near: int) -> list[int]:
    """Without values that differ little from one that has more area."""
    kept: list[int] = []
    for key in sorted(solid, key=lambda k: -values[k].core):
        if not any(_distance(key, other, by_color) <= near for other in (0, *kept)):
            kept.append(key)
    return kept or solid


def _distance(first: int, second: int, by_color: bool) -> int:
    if not by_color:
        return abs(first - second)
    return max(abs((first >> s & 255) - (second >> s & 255)) for s in (16, 8, 0))


def _are_numbers(solid: list[int], sets: list[set[int]], by_color: bool) -> bool:
    """Whether values number objects: too many, or 1 to the number of objects in each mask.

    Where every mask has the same values, these are organs rather than objects.
    """
    if len(solid) > _MAX_CLASSES:
        return True
    if by_color or len(solid) <= _MAX_UNORDERED:
        return False
    marked = [s for s in sets if s]
    if len({len(s) for s in marked}) < 2:
        return False
    return sum(s == set(range(1, len(s) + 1)) for s in marked) > 0.9 * len(marked)


def _numbered(
    solid: list[int], by_color: bool, nearest: Literal["nearest", "error"]
) -> MaskMeaning:
    what = "colours" if by_color else "values"
    finding = Finding(
        Severity.WARNING,
        "data",
        "numbered-objects",
        "masks",
        f"The masks hold {len(solid)} {what}: they are taken to number the objects of one class, "
        "so everything that is not black is foreground.",
        "If they are classes, name them in [[mask.classes]].",
    )
    if by_color:
        # A colour says nothing here, so the brightest channel decides.
        one = LabelClass(1, "foreground", ((255, 255, 255),))
        return MaskMeaning((one,), nearest, 1.0, (finding,))
    mark = classes_of_values([1])[0]
    # Every other number is nearer to one of these than to 0.
    numbers = tuple(sorted(solid)) if len(solid) <= _MAX_LISTED else (min(solid),)
    one = LabelClass(1, "foreground", mark.colors, numbers)
    return MaskMeaning((one,), "nearest", None, (finding,))


def _named(
    classes: Sequence[LabelClass], unknown: Literal["nearest", "error"], findings: list[Finding]
) -> MaskMeaning:
    if len(classes) == 1:
        only = classes[0]
        classes = [LabelClass(1, "foreground", only.colors, only.values)]
    return MaskMeaning(tuple(classes), unknown, None, tuple(findings))


def _blend_findings(
    values: dict[int, _Value], solid: list[int], masks: Sequence[MaskLook]
) -> list[Finding]:
    shades = [v.pixels for k, v in values.items() if k not in solid]
    share = sum(shades) / sum(int(m.pixels.sum()) for m in masks)
    return [
        _note(
            "blended-masks",
            f"{share:.2%} of the mask pixels have one of {len(shades)} shades between the classes, "
            "as blended edges have: they take the nearest class.",
        )
    ]


def _note(code: str, what: str) -> Finding:
    return Finding(Severity.NOTE, "data", code, "masks", what)


def classes_of_colors(colors: Sequence[tuple[int, int, int]]) -> list[LabelClass]:
    """One class per colour but black, by ascending colour."""
    named = sorted(color for color in colors if color != (0, 0, 0))
    return [LabelClass(i, f"class {i}", (color,)) for i, color in enumerate(named, start=1)]


def classes_of_values(values: Sequence[int]) -> list[LabelClass]:
    """One class per grey value, in the order given, with colours that are easy to tell apart."""
    return [
        LabelClass(i, f"class {i}", (distinct_color(i - 1, len(values)),), (v,))
        for i, v in enumerate(values, start=1)
    ]
