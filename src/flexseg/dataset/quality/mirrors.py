"""Whether mirroring an image makes one class look like another one: left and right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.quality.sides import named_sides
from flexseg.errors import FlexsegError

Flip = Literal["hflip", "vflip"]

_AXES: dict[Flip, int] = {"hflip": 1, "vflip": 0}
# Masks are looked at so small, and so many of them at most.
_SIDE = 48
_MOST_CASES = 48
# Classes mirror each other where the mirrored places of one overlap those of the other at least so
# much, and so many times as much as their own.
_LEAST_OVERLAP = 0.2
_TIMES_OWN = 2.0


def mirrored_classes(labels: LabelMap, cases: Sequence[Case]) -> dict[Flip, tuple[str, str]]:
    """Per flip the names of two classes that it turns into each other, if there are any.

    Such are a left and a right organ: mirrored, the one lies where the other one does, and a
    network that is trained on mirrored images is told that it is still the first. Classes are
    known by their names ("left", "right"), else by their places in some of the masks: those of
    one, mirrored, overlap with the other's rather than with its own. Masks that cannot be read
    are left out.

    Parameters
    ----------
    cases : for training.
    """
    named = named_sides(c.name for c in labels.foreground)
    found: dict[Flip, tuple[str, str]] = {"hflip": named} if named else {}
    names = {c.id: c.name for c in labels.foreground}
    if len(names) < 2:
        return found
    places = class_places(labels, cases)
    for flip, axis in _AXES.items():
        for a, b in combinations(names, 2):
            if flip not in found and _are_mirrored(places[a], places[b], axis):
                found[flip] = names[a], names[b]
    return found


def class_places(labels: LabelMap, cases: Sequence[Case]) -> NDArray[np.float64]:
    """How often a class is where: [classes, 48, 48], shares of the masks that have it, 0 to 1."""
    total = np.zeros((256, _SIDE, _SIDE))
    having = np.zeros(256)
    for _, small in small_masks(labels, cases):
        for class_id in np.unique(small):
            total[class_id] += small == class_id
            having[class_id] += 1
    count = 1 + max(c.id for c in labels.classes)
    return total[:count] / np.maximum(having[:count], 1)[:, None, None]


def small_masks(
    labels: LabelMap, cases: Sequence[Case]
) -> Iterator[tuple[Case, NDArray[np.uint8]]]:
    """Class ids [48, 48] of some cases, evenly spread; masks that cannot be read are left out."""
    for case in cases[:: -(-len(cases) // _MOST_CASES) or 1]:
        try:
            ids = labels.encode(case_mask(case), str(case.mask)).labels
        except FlexsegError:
            continue
        rows, columns = (((np.arange(_SIDE) + 0.5) * n / _SIDE).astype(int) for n in ids.shape)
        yield case, ids[np.ix_(rows, columns)]


def _are_mirrored(a: NDArray[np.float64], b: NDArray[np.float64], axis: int) -> bool:
    mirrored_a, mirrored_b = np.flip(a, axis), np.flip(b, axis)
    crossed = _overlap(mirrored_a, b)
    own = max(_overlap(mirrored_a, a), _overlap(mirrored_b, b))
    return crossed >= max(_LEAST_OVERLAP, _TIMES_OWN * own)


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of two maps of shares."""
    union = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / union) if union else 0.0
