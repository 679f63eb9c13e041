"""Groups of cases whose scores are lower than chance explains.

Each group is compared with all other cases. What chance does is seen by giving the scores to the
cases in another order, thousands of times; the largest difference of all groups in each order makes
one distribution for all of them, so that looking at many groups finds no more than looking at one
(Westfall and Young, 1993, "Resampling-based multiple testing").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.marks.class_names import quoted

_ORDERS = 4000
_FEWEST = 4
# A third of fewer cases is no group.
FEWEST_CASES = 3 * _FEWEST
_LEVEL = 0.05
# A smaller difference in Dice helps nobody.
_LEAST = 0.01
# So few groups, of several cases each, are sites or scanners; more are patients.
_MOST_SITES = 10
_SITE = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class ScoredCase:
    """A case (volumes: a volume) with its score, and what it is like.

    Attributes
    ----------
    group : cases of one group are not independent.
    dice : mean over the classes that are there or were predicted.
    sizes : class name -> mean size of its objects in pixels; of a volume of all in voxels.
    pixels : of the image or volume.
    brightness : mean of the values as the network's preprocessing reads them.
    """

    name: str
    group: str
    dice: float
    sizes: dict[str, float] = field(default_factory=dict)
    pixels: float = np.nan
    brightness: float = np.nan


@dataclass(frozen=True)
class FailingGroup:
    """A group of cases that scores lower than the others.

    Attributes
    ----------
    what : which cases, in words that follow "cases".
    cases, dice : how many they are, and their mean Dice.
    others, dice_of_others : the same of all others.
    p : probability that chance makes one of the groups that were looked at differ as much.
    """

    what: str
    cases: int
    dice: float
    others: int
    dice_of_others: float
    p: float


@dataclass(frozen=True)
class _Group:
    what: str
    members: NDArray[np.bool_]


def failing_groups(
    cases: Sequence[ScoredCase], *, volumes: bool = False, seed: int = 0
) -> list[FailingGroup]:
    """The groups that score lower, the lowest first: by size, brightness and site.

    Where there are many groups (patients), each counts once, with the means of its cases; a few
    ones of several cases each are sites and are compared themselves.

    Parameters
    ----------
    volumes : the cases are volumes.
    """
    cases = [case for case in cases if np.isfinite(case.dice)]
    units: dict[str, list[ScoredCase]] = {}
    for case, unit in zip(cases, independent_units(cases), strict=True):
        units.setdefault(unit, []).append(case)
    sites = len(units) > len({case.group for case in cases})
    cases = [_as_one(own) for own in units.values()]
    groups = _by_values(cases, volumes=volumes) + _by_name(cases, sites=sites)
    if not groups:
        return []
    dice = np.array([case.dice for case in cases])
    table = np.stack([group.members for group in groups], axis=1)
    rng = np.random.default_rng(seed)
    orders = np.stack([rng.permutation(dice) for _ in range(_ORDERS)])
    largest = _lower_by(orders, table).max(axis=1)
    found = []
    for group, difference in zip(groups, _lower_by(dice[None], table)[0], strict=True):
        own, rest = dice[group.members], dice[~group.members]
        p = float((1 + (largest >= difference - 1e-12).sum()) / (1 + _ORDERS))
        if p < _LEVEL and rest.mean() - own.mean() >= _LEAST:
            means = (float(own.mean()), float(rest.mean()))
            found.append(FailingGroup(group.what, len(own), means[0], len(rest), means[1], p))
    return sorted(found, key=lambda one: one.dice)


def independent_units(cases: Sequence[ScoredCase]) -> list[str]:
    """What each case is a part of: its group; itself where the groups are sites."""
    sizes = Counter(case.group for case in cases)
    sites = len(sizes) <= _MOST_SITES and min(sizes.values(), default=0) >= _FEWEST
    return [case.name if sites else case.group for case in cases]


def _as_one(cases: Sequence[ScoredCase]) -> ScoredCase:
    """The means of cases of one group, under the name of the first."""
    names = dict.fromkeys(name for case in cases for name in case.sizes)
    return ScoredCase(
        cases[0].name,
        cases[0].group,
        float(np.mean([case.dice for case in cases])),
        {n: float(np.mean([c.sizes[n] for c in cases if n in c.sizes])) for n in names},
        float(np.mean([case.pixels for case in cases])),
        float(np.mean([case.brightness for case in cases])),
    )


def _lower_by(scores: NDArray[np.float64], table: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[orders, groups] how much lower groups are than the others, in standard errors.

    Parameters
    ----------
    scores : [orders, cases].
    table : [cases, groups].
    """
    inside = table.sum(axis=0)
    outside = len(table) - inside
    sums = scores @ table.astype(float)
    difference = (scores.sum(axis=1, keepdims=True) - sums) / outside - sums / inside
    deviation = np.maximum(scores.std(axis=1, keepdims=True), 1e-9)
    return np.asarray(difference / (deviation * np.sqrt(1 / inside + 1 / outside)))


def _by_values(cases: Sequence[ScoredCase], *, volumes: bool) -> list[_Group]:
    """The lowest and the highest third by size of objects, size of images and brightness."""
    images, elements = ("volumes", "voxels") if volumes else ("images", "pixels")
    groups = []
    for name in dict.fromkeys(name for case in cases for name in case.sizes):
        sizes = [case.sizes.get(name, np.nan) for case in cases]
        if volumes:
            groups += _thirds(sizes, ("little", "much"), quoted(name), elements)
        else:
            what = f"objects of {quoted(name)}"
            groups += _thirds(sizes, ("small", "large"), what, "px on average")
    pixels, bright = [case.pixels for case in cases], [case.brightness for case in cases]
    groups += _thirds(pixels, ("small", "large"), images, elements)
    return groups + _thirds(bright, ("dark", "bright"), images, "on average")


def _thirds(
    values: Sequence[float], adjectives: tuple[str, str], what: str, unit: str
) -> list[_Group]:
    numbers = np.array(values, float)
    known = numbers[np.isfinite(numbers)]
    if len(known) < FEWEST_CASES:
        return []
    low, high = np.quantile(known, (1 / 3, 2 / 3))
    found = [
        _Group(f"with {adjectives[0]} {what} (up to {_short(low)} {unit})", numbers <= low),
        _Group(f"with {adjectives[1]} {what} (from {_short(high)} {unit})", numbers >= high),
    ]
    return [group for group in found if _is_group(group.members)]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _by_name(cases: Sequence[ScoredCase], *, sites: bool) -> list[_Group]:
    """The sites that groups of the dataset, or the beginnings of names, tell."""
    begins = [match[0] if (match := _SITE.match(case.name)) else "" for case in cases]
    kinds = {"whose names begin with": begins}
    if sites:
        kinds["of the group"] = [case.group for case in cases]
    found = []
    for what, values in kinds.items():
        for value in sorted(set(values) - {""}):
            members = np.array([one == value for one in values])
            if _is_group(members):
                # Quotes are for names of classes.
                found.append(_Group(f"{what} {value}", members))
    return found


def _is_group(members: NDArray[np.bool_]) -> bool:
    return min(int(members.sum()), int((~members).sum())) >= _FEWEST
