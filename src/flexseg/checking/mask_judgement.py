"""What masks themselves tell against a config that was made by a wrong guess."""

from __future__ import annotations

from collections.abc import Sequence

from flexseg.config.findings import Finding, Severity, examples
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import Look, MaskLook
from flexseg.dataset.marks.guard import filled_error
from flexseg.dataset.marks.values import MaskValues

# Of the border of a mask, and of the masks, that is foreground where the two are exchanged.
_BORDER, _MOST = 0.9, 0.8


def mask_findings(facts: Sequence[Look], labels: LabelMap) -> list[Finding]:
    """Masks without background, exchanged ones, shades that are classes, indices in another order.

    Parameters
    ----------
    facts : of all cases that the config names, with `mask` noted.
    """
    read = [f for f in facts if f.mask is not None and any(f.class_pixels)]
    counts = [f.class_pixels for f in read]
    filled = filled_error([f.case.mask for f in read], counts, labels)
    if filled is not None:
        return [Finding.of_error(filled, "data")]
    masks = [f.mask for f in read if f.mask is not None]
    return [*_exchanged(read), *_shades(masks, labels), *_order_of_indices(masks, labels)]


def _warning(code: str, what: str, fix: str, items: Sequence[str] = ()) -> Finding:
    return Finding(Severity.WARNING, "data", code, "masks", what, fix, tuple(items))


def _exchanged(read: Sequence[Look]) -> list[Finding]:
    """Foreground that lies around the background in most masks."""
    marked = [f for f in read if sum(f.class_pixels[1:]) and f.class_pixels[0]]
    around = [f.case.id for f in marked if f.marked_border >= _BORDER]
    if len(around) < max(2, _MOST * len(marked)):
        return []
    return [
        _warning(
            "exchanged-background",
            f"In {len(around)} of {len(marked)} masks foreground is around the edge of the picture "
            f"and background within: {examples(around, 3)}. The two may be exchanged.",
            "If so, say what is background with [[mask.classes]] id = 0.",
            around,
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
            f"The values {examples([str(v) for v in shades])} are classes of the config, but in "
            "the masks they only lie between a darker and a brighter one, as blended edges do.",
            f"Keep the classes of the values {', '.join(map(str, sorted(solid)))}, and set [mask] "
            "unknown_colors = 'nearest'.",
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
            f"The masks are indexed, and the config numbers their classes otherwise: "
            f"{examples(other)}. Masks of the same indices in grey are scored by other classes.",
            "Number the classes by the indices, with values = [index].",
        )
    ]
