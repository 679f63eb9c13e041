"""What masks of unknown origin mean: classes, shades of blended edges, numbered objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flexseg.config.findings import Finding, Severity, amount
from flexseg.dataset.candidates.answers import MaskValues as MaskValuesAre
from flexseg.dataset.candidates.numbering import mask_values
from flexseg.dataset.description import Description
from flexseg.dataset.ignored.pixels import IgnoredPixels
from flexseg.dataset.ignored.void import find_void, share_of, void_finding, without_void
from flexseg.dataset.labels import MAX_CLASSES, LabelClass, LabelMap, Rgb
from flexseg.dataset.looks import MaskLook
from flexseg.dataset.marks.class_names import renumbered
from flexseg.dataset.marks.guard import refuse_photographs
from flexseg.dataset.marks.label_tables import LabelTable
from flexseg.dataset.marks.made_up_names import FOREGROUND, made_up_name
from flexseg.dataset.marks.other_background import (
    background_class,
    black_index,
    exchanged_table,
    in_own_marks,
    other_background,
    with_usual_background,
)
from flexseg.dataset.marks.values import MaskValues, are_shares, unpacked
from flexseg.errors import DataError
from flexseg.files.display import class_color

_MAX_LISTED = 255
# Blended and compressed colours that differ by no more are those of a table.
_NEAR_COLOR = 40
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
    background : None: it is black.
    """

    classes: tuple[LabelClass, ...]
    unknown: Literal["nearest", "error"] = "error"
    threshold: float | None = None
    findings: tuple[Finding, ...] = ()
    ignored: IgnoredPixels | None = None
    background: LabelClass | None = None

    @property
    def labels(self) -> LabelMap:
        """The label map of masks that mean this."""
        return LabelMap.of_foreground(self.classes, self.threshold, self.ignored, self.background)


def meaning_of(
    masks: Sequence[MaskLook],
    described: Description | None,
    table: LabelTable,
    answer: MaskValuesAre | None = None,
) -> MaskMeaning:
    """What the masks of a dataset mean: as its description says, else as they suggest.

    Parameters
    ----------
    table : names, and with colours the order, of classes; of indices and values their own order
        counts.
    answer : see `find_meaning`; without one, what the table names are classes.

    Raises
    ------
    DataError : see `find_meaning`, `other_background`.
    """
    if described is not None and described.classes:
        return MaskMeaning(described.classes, ignored=described.ignored)
    mark = other_background(masks, table) if table.source else black_index(masks)
    if mark is not None:
        return _on_background(mark, masks, table, answer)
    void = find_void(masks, table.names_of(()), table.void)
    if answer is None and (table.foreground or any(table.names_of(()))):
        answer = "classes"
    found = find_meaning(masks if void is None else without_void(masks, void), answer)
    if void is not None:
        findings = (*found.findings, void_finding(void, share_of(masks, void)))
        found = replace(found, ignored=void, findings=findings)
    indexed = all(m.entries.palette is not None for m in masks)
    names = {} if indexed else table.names_of_grey
    names |= table.names_of([c.values[0] for c in found.classes if len(c.values) == 1])
    classes = tuple(
        replace(c, name=names[c.values[0]]) if len(c.values) == 1 and c.values[0] in names else c
        for c in found.classes
    )
    if table.foreground and (indexed or not any(c.values for c in classes)):
        near = _NEAR_COLOR if found.unknown == "nearest" else 0
        classes = _in_colors_of(table, classes, near)
    return replace(found, classes=classes)


def _on_background(
    mark: Rgb | int, masks: Sequence[MaskLook], table: LabelTable, answer: MaskValuesAre | None
) -> MaskMeaning:
    """What masks mean whose background has a colour or value of its own."""
    usual = [with_usual_background(mask, mark) for mask in masks if not mask.entries.one_hot]
    found = meaning_of(usual, None, exchanged_table(table, mark), answer)
    what = "value" if isinstance(mark, int) else "colour"
    told = f"{table.source} says that the {what} {mark} is background."
    if not table.source:
        told = (
            f"In the palette of the masks, index 0 has a colour and index {mark} is black: the "
            "black one is taken for background, the others for classes in the order of the "
            "indices."
        )
    note = _note("other-background", told)
    return replace(
        found,
        classes=in_own_marks(found.classes, mark),
        findings=(*found.findings, note),
        background=background_class(mark, found.classes),
    )


def _in_colors_of(
    table: LabelTable, classes: Sequence[LabelClass], near: int
) -> tuple[LabelClass, ...]:
    """Classes named by their colours; those that have no values in the order of the table.

    Parameters
    ----------
    near : a colour is that of the table if no channel differs by more.
    """
    listed = table.foreground
    known: list[tuple[int, LabelClass]] = []
    for c in classes:
        own = [
            i
            for i, (rgb, _) in enumerate(listed)
            if max(abs(a - b) for a, b in zip(rgb, c.colors[0], strict=True)) <= near
        ]
        if not own:
            known.append((len(listed), c))
            continue
        color, name = listed[own[0]]
        known.append((own[0], replace(c, name=name, colors=c.colors if c.values else (color,))))
    if not any(c.values for c in classes):
        known.sort(key=lambda item: item[0])
    return renumbered(c for _, c in known)


def find_meaning(masks: Sequence[MaskLook], answer: MaskValuesAre | None = None) -> MaskMeaning:
    """What all masks together suggest: black is background, each other value with areas a class.

    Parameters
    ----------
    answer : what the user says that values are.

    Raises
    ------
    DataError : no mask marks anything, they are photographs or hold scaled classes, or it is not
        clear whether values number objects.
    """
    scores = {m.entries.pixels.shape[-1] for m in masks if m.entries.one_hot}
    if scores:
        return _of_scores(scores)
    shares = are_shares(masks)
    found = MaskValues.of(masks)
    if shares and {*found.values} == {1}:
        return _of_shares()
    refuse_photographs(masks)
    if not found.values:
        raise DataError(
            f"All masks ({len(masks)}) are empty: they hold nothing but 0 (black).",
            "Check that these are the masks; each value or colour besides black is a class.",
        )
    solid, blends = found.solid()
    findings = _how_marked(masks)
    if blends and not found.lossy:
        findings += _blend_findings(found, solid, masks)
    if found.resampled:
        findings.append(_resampled_finding(len(found.values)))
    nearest: Literal["nearest", "error"] = "nearest" if blends or shares else "error"
    marked = {own: own & {*solid} for own in {*found.sets}}
    sets = [marked[own] for own in found.sets]
    kind, told = mask_values(solid, sets, answer)
    findings += told
    if kind == "objects":
        return _numbered(solid, found.by_color, nearest, findings)
    if found.by_color:
        return _named(classes_of_colors([unpacked(k) for k in solid]), nearest, findings)
    if len(solid) > 1 and set(solid) <= _MARKS and all(len(s & _MARKS) < 2 for s in found.sets):
        mark = classes_of_values([max(solid)])[0]
        one = LabelClass(1, mark.name, mark.colors, tuple(sorted(solid)))
        text = " and ".join(map(str, sorted(solid)))
        note = _note(
            "mask-dialects",
            f"Some masks mark with one value, some with another ({text}): both are taken for the "
            "same class.",
        )
        return _named([one], nearest, [*findings, note])
    classes = [
        replace(c, colors=(color,)) if (color := colors.get(c.values[0])) else c
        for colors in [_telling(found.palette)]
        for c in classes_of_values(sorted(solid))
    ]
    return _named(classes, nearest, findings)


def _of_scores(channels: set[int]) -> MaskMeaning:
    """The channels are the classes, also those that no mask shows."""
    if len(channels) > 1:
        raise DataError(
            f"Some masks hold scores of {min(channels)} classes, some of {max(channels)}, "
            "the background included.",
            "Save all with the same channels, the background first.",
        )
    count = max(channels)
    if count > MAX_CLASSES:
        raise DataError(
            f"The masks hold scores of {count} classes; at most {MAX_CLASSES} are possible.",
            "Save them as [height, width, classes] with fewer classes.",
        )
    return _named(classes_of_values(range(1, count)), "error", [])


def _of_shares() -> MaskMeaning:
    note = _note(
        "blended-masks", "The masks hold fractions from 0 to 1: they are thresholded at 0.5."
    )
    return _named(classes_of_values([1]), "nearest", [note])


def _telling(palette: Mapping[int, Rgb]) -> dict[int, Rgb]:
    """The colours of a palette's indices but 0, if each has one of its own."""
    colors = {index: color for index, color in palette.items() if index}
    distinct = len({(0, 0, 0), *colors.values()}) == len(colors) + 1
    return colors if distinct else {}


def _how_marked(masks: Sequence[MaskLook]) -> list[Finding]:
    """What is read of transparency.

    Raises
    ------
    DataError : some masks mark by transparency alone, others by colours.
    """
    alone = sum(m.entries.mode.endswith(" transparency") and "with" not in m.entries.mode
                for m in masks)  # fmt: skip
    layers = sum("with transparency" in m.entries.mode for m in masks)
    if alone and layers:
        raise DataError(
            f"{amount(alone, 'mask', 'is', 'are')} black with transparent parts, {layers} "
            f"{'has' if layers == 1 else 'have'} colours and transparent parts: what is opaque "
            "is marked in the latter, and may be background in the former.",
            "Save all masks without transparency, black where nothing is marked.",
        )
    if not alone + layers:
        return []
    return [
        _note(
            "transparent-masks",
            f"{amount(alone + layers, 'mask', 'has', 'have')} transparent parts: these are taken "
            "for background, and what is opaque for marked.",
        )
    ]


def _numbered(
    solid: list[int],
    by_color: bool,
    nearest: Literal["nearest", "error"],
    findings: Sequence[Finding],
) -> MaskMeaning:
    if by_color:
        # A colour says nothing here, so the brightest channel decides.
        one = LabelClass(1, FOREGROUND, ((255, 255, 255),))
        return MaskMeaning((one,), nearest, 1.0, tuple(findings))
    mark = classes_of_values([1])[0]
    # Every other number is nearer to one of these than to 0.
    numbers = tuple(sorted(solid)) if len(solid) <= _MAX_LISTED else (min(solid),)
    one = LabelClass(1, FOREGROUND, mark.colors, numbers)
    return MaskMeaning((one,), "nearest", None, tuple(findings))


def _named(
    classes: Sequence[LabelClass], unknown: Literal["nearest", "error"], findings: list[Finding]
) -> MaskMeaning:
    if len(classes) == 1:
        only = classes[0]
        classes = [LabelClass(1, FOREGROUND, only.colors, only.values)]
    return MaskMeaning(tuple(classes), unknown, None, tuple(findings))


def _blend_findings(
    found: MaskValues, solid: list[int], masks: Sequence[MaskLook]
) -> list[Finding]:
    shades = [v.pixels for k, v in found.values.items() if k not in solid]
    share = sum(shades) / sum(int(m.pixels.sum()) for m in masks)
    return [
        _note(
            "blended-masks",
            f"{share:.2%} of the mask pixels have one of {amount(len(shades), 'shade')} between "
            "the classes, as blended edges do: they take the nearest class.",
        )
    ]


def _resampled_finding(count: int) -> Finding:
    return Finding(
        Severity.WARNING,
        "data",
        "resampled-masks",
        "masks",
        f"The masks hold {count} values, many of them only where others meet, as after resizing "
        "or rotating with interpolation: some may not be classes.",
        "Resize and rotate masks by nearest neighbour.",
    )


def _note(code: str, what: str) -> Finding:
    return Finding(Severity.NOTE, "data", code, "masks", what)


def classes_of_colors(colors: Sequence[tuple[int, int, int]]) -> list[LabelClass]:
    """One class per colour but black, by ascending colour."""
    named = sorted(color for color in colors if color != (0, 0, 0))
    return [LabelClass(i, made_up_name(i), (color,)) for i, color in enumerate(named, start=1)]


def classes_of_values(values: Sequence[int]) -> list[LabelClass]:
    """One class per grey value, in the order given, with colours that are easy to tell apart."""
    return [
        LabelClass(i, made_up_name(i), (class_color(i - 1, len(values)),), (v,))
        for i, v in enumerate(values, start=1)
    ]
