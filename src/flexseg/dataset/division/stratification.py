"""Dividing cases by group so that every class is everywhere in its share.

Cases of one group (patient, volume, image with its augmented copies) stay together. Groups are
dealt out by iterative stratification: the rarest class first, as by Sechidis et al.; each group
to the part that comes closest to its share of all classes and of the cases by it, since a group
holds several.

References
----------
Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label data. ECML PKDD 2011.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_PASSES = 5


def partition(
    groups: Sequence[str],
    presence: NDArray[np.bool_],
    shares: Sequence[float],
    seed: int,
) -> NDArray[np.intp]:
    """The part that each case is in, [cases].

    Parameters
    ----------
    groups : of each case.
    presence : [cases, classes], whether a case shows a class. Cases that show none are spread
        evenly too.
    shares : of each part, not negative; they are divided by their sum. Every part with a share
        gets a group as long as there are enough.
    seed : decides among what is equally good.
    """
    wanted = np.asarray(shares, float) / sum(shares)
    names = _in_seeded_order(groups, seed)
    number = {name: i for i, name in enumerate(names)}
    members = np.array([number[group] for group in groups], np.intp)
    empty = ~presence.any(axis=1, keepdims=True)
    # Per group the cases of each class, of none, and all.
    counts = np.zeros((len(names), presence.shape[1] + 2))
    columns = np.concatenate([presence, empty, np.ones_like(empty)], axis=1)
    np.add.at(counts, members, columns)
    part_of = _deal(counts, wanted)
    _fill_empty_parts(part_of, counts[:, -1], wanted)
    return part_of[members]


def folds(
    groups: Sequence[str], presence: NDArray[np.bool_], count: int, seed: int
) -> NDArray[np.intp]:
    """The fold in which each case is validated, [cases], 0 to `count` - 1; see `partition`."""
    return partition(groups, presence, [1.0] * count, seed)


def swap_groups(
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
    parts = np.unique(part_of).tolist()
    everywhere = np.all([presence[part_of == part].any(axis=0) for part in parts], axis=0)
    if (everywhere | ~presence.any(axis=0)).all():
        return part_of
    members = members_of(groups)

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


def members_of(groups: Sequence[str]) -> dict[str, list[int]]:
    """Group -> the numbers of its cases, in order."""
    members: dict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    return members


def _in_seeded_order(groups: Sequence[str], seed: int) -> list[str]:
    """Each group once, in an order that depends on seed and names alone, not on the files'."""
    return sorted(set(groups), key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).digest())


def _deal(counts: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.intp]:
    """The part of each group; `counts` [groups, classes + total], `wanted` shares [parts]."""
    totals = np.maximum(counts.sum(axis=0), 1)
    # Of every class the same: how it is distributed over the parts, whatever its frequency.
    shares = counts / totals
    missing = np.repeat(wanted[:, None], shares.shape[1], axis=1)
    tolerated = np.where(wanted > 0, wanted, 1e-12)[:, None]

    def cheapest(group: int) -> np.intp:
        """The part that sum((found - wanted)^2 / wanted) grows least in, over all classes."""
        change = shares[group] * (shares[group] - 2 * missing) / tolerated
        return change.sum(axis=1).argmin()

    part_of = np.full(len(counts), -1, np.intp)
    while (left := np.flatnonzero(part_of < 0)).size:
        remaining = counts[left].sum(axis=0)
        rarest = int(np.where(remaining > 0, remaining, np.inf).argmin())
        having = left[counts[left, rarest] > 0]
        # Large groups first: small ones can still even out what they leave.
        for group in having[np.argsort(-counts[having, rarest], kind="stable")]:
            part_of[group] = cheapest(group)
            missing[part_of[group]] -= shares[group]
    # What was dealt early may fit better elsewhere now.
    for _ in range(_PASSES):
        moved = False
        for group in range(len(counts)):
            before = part_of[group]
            missing[before] += shares[group]
            part_of[group] = cheapest(group)
            missing[part_of[group]] -= shares[group]
            moved |= bool(part_of[group] != before)
        if not moved:
            break
    return part_of


def _fill_empty_parts(
    part_of: NDArray[np.intp], sizes: NDArray[np.float64], wanted: NDArray[np.float64]
) -> None:
    """Give each part with a share but no group the smallest group of the fullest part."""
    for part in np.flatnonzero(wanted > 0):
        if (part_of == part).any():
            continue
        groups = np.bincount(part_of, minlength=len(wanted))
        if groups.max(initial=0) < 2:
            return
        donors = np.flatnonzero(np.isin(part_of, np.flatnonzero(groups > 1)))
        fullest = part_of[donors][np.argmax(groups[part_of[donors]])]
        candidates = np.flatnonzero(part_of == fullest)
        part_of[candidates[sizes[candidates].argmin()]] = part
