"""Which mirror images the data could have, and which they never have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.quality.mirrors import Flip, mirrored_classes, small_masks

# A class whose larger part is in the same half of so many of the masks that show it, is always
# there; fewer masks than this may show it by chance.
_ONE_SIDED = 0.9
_FEWEST_MASKS = 8
# Difference of the halves, as a share of the class, that counts.
_CLEARLY = 0.2
_AXES: dict[Flip, int] = {"hflip": 1, "vflip": 0}
_WORDS: dict[Flip, str] = {"hflip": "left-right", "vflip": "top-bottom"}


def flips(labels: LabelMap, cases: Sequence[Case]) -> dict[Flip, tuple[float, str]]:
    """Per flip the probability to train with it, and why.

    Objects that may lie in any way are learned from their mirror images too. Anatomy that is
    always shown in the same way is not: its mirror images would be cases that never come.

    Parameters
    ----------
    cases : for training.
    """
    mirrored = mirrored_classes(labels, cases)
    sides = _sides(labels, cases)
    result: dict[Flip, tuple[float, str]] = {}
    for flip, axis in _AXES.items():
        if flip in mirrored:
            a, b = mirrored[flip]
            result[flip] = 0.0, f"mirrored, {a} would look like {b}"
            continue
        sided = [c.name for c in labels.foreground if _is_one_sided(sides[c.id][axis])]
        if sided:
            result[flip] = 0.0, f"{sided[0]} is always on the same side: the images have one way up"
        else:
            result[flip] = 0.5, f"mirrored {_WORDS[flip]} the images look as likely"
    return result


def _sides(labels: LabelMap, cases: Sequence[Case]) -> dict[int, tuple[list[bool], list[bool]]]:
    """Per class and axis (rows, columns) whether its larger part is in the second half of a mask,
    for every mask that shows it clearly more in one half than in the other."""
    sides: dict[int, tuple[list[bool], list[bool]]] = {c.id: ([], []) for c in labels.foreground}
    for small in small_masks(labels, cases):
        for class_id, lists in sides.items():
            shown = small == class_id
            for axis, seen in enumerate(lists):
                first, second = (int(half.sum()) for half in np.split(shown, 2, axis=axis))
                if abs(first - second) > _CLEARLY * (first + second):
                    seen.append(second > first)
    return sides


def _is_one_sided(seen: Sequence[bool]) -> bool:
    if len(seen) < _FEWEST_MASKS:
        return False
    share = sum(seen) / len(seen)
    return max(share, 1 - share) >= _ONE_SIDED
