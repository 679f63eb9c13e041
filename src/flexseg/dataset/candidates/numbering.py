"""Whether the values of masks are classes, or number the objects of one class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet

from flexseg.config.findings import Finding, Severity
from flexseg.dataset.candidates.answers import MaskValues
from flexseg.errors import DataError

# Atlases have up to so many structures; more values are no classes.
_MOST_CLASSES = 128
# Up to here many values are classes, unless masks show them as they show objects.
_MANY = 64
# Values 1 to k, with so many different k and so large a one, are numbers of objects.
_KINDS, _OBJECTS, _MASKS = 3, 5, 4
# Values that hardly any two masks share, and so many of them.
_SHARED, _UNSHARED = 1.2, 8


def mask_values(
    values: Collection[int], sets: Sequence[AbstractSet[int]], answer: MaskValues | None = None
) -> tuple[MaskValues, tuple[Finding, ...]]:
    """What the values of masks are, and what a user should know of that.

    Parameters
    ----------
    values : of all masks, without 0; or colours.
    sets : those of each mask.
    answer : what the user says.

    Raises
    ------
    DataError : it is not clear, and both would be plausible.
    """
    if answer is not None or len(values) < _KINDS:
        return answer or "classes", ()
    marked = [own for own in sets if own]
    sizes = {len(own) for own in marked}
    counted = sum(own == set(range(1, len(own) + 1)) for own in marked) > 0.9 * len(marked)
    masks_per_value = sum(map(len, marked)) / len(values)
    if len(values) > _MOST_CLASSES:
        return "objects", _taken_for_objects(len(values))
    if counted and len(sizes) >= _KINDS and max(sizes) >= _OBJECTS and len(marked) >= _MASKS:
        return "objects", _taken_for_objects(len(values))
    alone = masks_per_value <= _SHARED and len(marked) >= _KINDS and len(values) >= _UNSHARED
    if alone and len(values) >= 2 * len(marked):
        return "objects", _taken_for_objects(len(values))
    if len(values) > _MANY:
        if len(marked) < _KINDS or masks_per_value < len(marked) / 2:
            return "objects", _taken_for_objects(len(values))
        raise DataError(
            f"The masks have {len(values)} values, most of them in most masks: they may be "
            "classes, or number the objects of one class.",
            "Say what they are: --mask-values classes, or --mask-values objects.",
        )
    if counted and len(sizes) > 1:
        return "classes", _perhaps_objects(max(sizes))
    return "classes", ()


def _taken_for_objects(count: int) -> tuple[Finding, ...]:
    what = (
        f"The masks hold {count} values or colours: these are taken to number the objects of one "
        "class, so that everything but black is foreground."
    )
    return (_finding(what, "If they are classes: --mask-values classes, or name them in "
                           "[[mask.classes]]."),)  # fmt: skip


def _perhaps_objects(most: int) -> tuple[Finding, ...]:
    what = (
        f"Each mask has the values 1, 2, ... up to a number of its own, at most {most}: they are "
        "taken for classes, but may number the objects of one class."
    )
    return (_finding(what, "If they do: --mask-values objects."),)


def _finding(what: str, fix: str) -> Finding:
    return Finding(Severity.WARNING, "data", "numbered-objects", "masks", what, fix)
