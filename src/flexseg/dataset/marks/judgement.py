"""What masks themselves tell against the classes that a config, or a guess, gives them."""

from __future__ import annotations

from collections.abc import Sequence

from flexseg.config.findings import Finding, Severity, amount, examples, some_of
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import Look, MaskLook
from flexseg.dataset.marks.guard import filled_error, refuse_no_masks
from flexseg.dataset.marks.values import MaskValues
from flexseg.errors import DataError

# Of the border of a mask, and of the masks, that is foreground where the two are exchanged.
_BORDER, _MOST = 0.9, 0.8
# Where so many are around and the others within, the masks were saved in two ways.
_SOME = 0.1


def mask_findings(facts: Sequence[Look], labels: LabelMap) -> list[Finding]:
    """What is wrong or doubtful with masks, see `refuse_masks` and `doubtful_masks`."""
    try:
        refuse_masks(facts, labels)
    except DataError as error:
        return [Finding.of_error(error, "data", "masks")]
    return doubtful_masks(facts, labels)


def refuse_masks(facts: Sequence[Look], labels: LabelMap) -> None:
    """Refuse what cannot be masks: photographs, scaled class numbers, nothing but foreground.

    Parameters
    ----------
    facts : of all cases, with `mask` and the classes noted.

    Raises
    ------
    DataError : see `refuse_no_masks` and `filled_error`.
    """
    refuse_no_masks([f.mask for f in facts if f.mask is not None], labels)
    read = _read(facts)
    error = filled_error((f.case.mask for f in read), (f.class_pixels for f in read), labels)
    if error is not None:
        raise error


def doubtful_masks(facts: Sequence[Look], labels: LabelMap) -> list[Finding]:
    """Foreground that is exchanged or everywhere, shades that are classes, indices in another
    order, as warnings."""
    read = _read(facts)
    masks = [f.mask for f in read if f.mask is not None]
    return [
        *_exchanged(read),
        *_full(read),
        *_shades(masks, labels),
        *_order_of_indices(masks, labels),
    ]


def _read(facts: Sequence[Look]) -> list[Look]:
    return [f for f in facts if f.mask is not None and any(f.class_pixels)]


def _warning(code: str, what: str, fix: str, items: Sequence[str] = ()) -> Finding:
    return Finding(Severity.WARNING, "data", code, "masks", what, fix, tuple(items))


def _exchanged(read: Sequence[Look]) -> list[Finding]:
    """Foreground that lies around the background: in most masks, or in some and in no other."""
    marked = [f for f in read if sum(f.class_pixels[1:]) and f.class_pixels[0]]
    around = [f.case.id for f in marked if f.marked_border >= _BORDER]
    within = sum(not f.marked_border for f in marked)
    if len(around) < 2:
        return []
    what = (
        f"In {len(around)} of {amount(len(marked), 'mask')}, foreground surrounds background "
        f"along the edge of the picture: {examples(around, 3)}."
    )
    if len(around) >= _MOST * len(marked):
        what += " The two may be swapped."
        fix = "If so, name the background by [[mask.classes]] id = 0."
    elif len(around) + within == len(marked) and len(around) >= _SOME * len(marked):
        what += " In the others it is the other way round."
        fix = "If foreground and background are swapped in some of them, invert these."
    else:
        return []
    return [_warning("exchanged-background", what, fix, around)]


def _full(read: Sequence[Look]) -> list[Finding]:
    """A few masks without any background among others that have it."""
    full = [f.case.id for f in read if not f.class_pixels[0]]
    if not full or len(full) > max(1, _SOME * len(read)):
        return []
    return [
        _warning(
            "full-masks",
            f"{some_of(len(full), len(read), 'mask', 'is', 'are')} foreground everywhere, unlike "
            f"the others: {examples(full, 3)}.",
            "Look at them, and leave them out if they are wrong.",
            full,
        )
    ]


def _shades(masks: Sequence[MaskLook], labels: LabelMap) -> list[Finding]:
    """Classes whose values are only shades of blended edges."""
    found = MaskValues.of([m for m in masks if not m.entries.one_hot])
    if found.by_color or not found.values or found.lossy:
        return []
    solid, blended = found.solid()
    values = [v for c in labels.foreground for v in c.values if v in found.values]
    shades = [v for v in values if v not in solid]
    if not blended or not shades or len(values) < 2:
        return []
    return [
        _warning(
            "shades-as-classes",
            f"The values {examples([str(v) for v in shades])} are classes of the config, but "
            "occur in the masks only between a darker and a brighter one, as blended edges do.",
            f"Keep only the classes of the values {', '.join(map(str, sorted(solid)))}, and set "
            "[mask] unknown_colors = 'nearest'.",
        )
    ]


def _order_of_indices(masks: Sequence[MaskLook], labels: LabelMap) -> list[Finding]:
    """Indexed masks whose indices are ids of classes, but of others than the config has."""
    if not masks or any(m.entries.palette is None for m in masks):
        return []
    found = MaskValues.of(masks)
    indices = sorted(found.values)
    if not found.palette or indices != list(range(1, len(labels.classes))):
        return []
    ids: dict[int, int] = {}
    for mask in masks:
        own = labels.encode(mask.entries).labels[0]
        ids |= dict(zip(mask.entries.pixels[0].tolist(), own.tolist(), strict=True))
    other = [f"index {i} is class {ids[i]}" for i in indices if ids[i] != i]
    if not other:
        return []
    return [
        _warning(
            "order-of-indices",
            "The masks are indexed, but the config numbers their classes differently: "
            f"{examples(other)}. Grey masks with the same indices would be read as other classes.",
            "Number the classes by the indices, with values = [index].",
        )
    ]
