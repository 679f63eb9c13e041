"""Which mirror images the data could have, and which they never have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flexseg.data.labels import LabelMap
from flexseg.data.pairing import Case
from flexseg.planning.mirrors import Flip, class_places, mirror_twins

# A class that lies so little where its mirror image lies is always on one side.
_ONE_SIDED = 0.5
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
    twins = mirror_twins(labels, cases)
    places = class_places(labels, cases)
    result: dict[Flip, tuple[float, str]] = {}
    for flip, axis in _AXES.items():
        if flip in twins:
            a, b = twins[flip]
            result[flip] = 0.0, f"mirrored, {a} would look like {b}"
            continue
        sided = [c.name for c in labels.foreground if _is_one_sided(places[c.id], axis)]
        if sided:
            result[flip] = 0.0, f"{sided[0]} is always on the same side: the images have one way up"
        else:
            result[flip] = 0.5, f"mirrored {_WORDS[flip]} the images look as likely"
    return result


def _is_one_sided(places: np.ndarray, axis: int) -> bool:
    mirrored = np.flip(places, axis)
    union = np.maximum(places, mirrored).sum()
    return bool(union and np.minimum(places, mirrored).sum() / union < _ONE_SIDED)
