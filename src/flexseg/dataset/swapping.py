"""Groups that change places, so that every part of a division shows every class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def exchange_groups(
    part_of: NDArray[np.intp], groups: Sequence[str], presence: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """The division in which parts get the classes that they lack from parts that can spare them.

    A group that shows the class comes from the part with most cases of it, and one that is not
    needed goes there instead. No part loses a class by it.

    Parameters
    ----------
    part_of : the part that each case is in, [cases].
    groups : of each case; all cases of a group are in one part.
    presence : [cases, classes], whether a case shows a class.
    """
    part_of = part_of.copy()
    members: dict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)

    def shown(part: int) -> NDArray[np.bool_]:
        return presence[part_of == part].any(axis=0)

    def within(part: int) -> list[list[int]]:
        return sorted((m for m in members.values() if part_of[m[0]] == part), key=len)

    def moved(candidates: Sequence[list[int]], source: int, target: int) -> bool:
        """Whether one of the groups could leave without a class being missed."""
        before = shown(source)
        for group in candidates:
            part_of[group] = target
            if (shown(source) == before).all():
                return True
            part_of[group] = source
        return False

    parts = np.unique(part_of).tolist()
    for part in parts:
        for column in np.flatnonzero(~shown(part) & presence.any(axis=0)):
            if shown(part)[column]:  # came with another class
                continue
            own = within(part)
            numbers = {p: int(presence[part_of == p, column].sum()) for p in parts}
            for donor in sorted(parts, key=lambda p: -numbers[p]):
                having = [m for m in within(donor) if presence[m, column].any()]
                if moved(having, donor, part):
                    moved(own, part, donor)
                    break
    return part_of
