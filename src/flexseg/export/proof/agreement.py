"""How far labels may differ that count as equal, and how far the Dice of them does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.evaluation.aggregate import bootstrap_means, interval, mean_or_none
from flexseg.evaluation.metrics.counts import confusion, counts_by_class
from flexseg.evaluation.metrics.overlap import dice

# Of the labels at least so many must be equal, and the mean Dice by no more off than this.
EQUAL_LABELS = 0.999
DICE_DIFFERENCE = 0.001


@dataclass(frozen=True)
class DiceDifference:
    """Mean Dice over classes and cases, of the export and of flexseg.

    Attributes
    ----------
    difference : mean of the paired differences, export - flexseg.
    low, high : bounds of its 95 % interval over groups; None where one group alone says nothing.
    """

    export: float
    flexseg: float
    difference: float
    low: float | None
    high: float | None

    @property
    def ends(self) -> str:
        """The interval in words; empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        return f" (95 % interval {self.low:+.5f} to {self.high:+.5f})"

    @property
    def equal(self) -> bool:
        """Whether the interval lies within what is taken for equal."""
        ends = [end for end in (self.low, self.high, self.difference) if end is not None]
        return all(abs(end) <= DICE_DIFFERENCE for end in ends)


def differences(equal_labels: float, dice: DiceDifference | None, what: str = "") -> list[str]:
    """Why labels do not count as equal; empty where they do.

    Parameters
    ----------
    equal_labels : share of them.
    what : they are of, e.g. " of the volumes".
    """
    found = []
    if not equal_labels >= EQUAL_LABELS:
        found.append(
            f"{equal_labels:.3%} of the labels{what} are equal, less than {EQUAL_LABELS:.1%}"
        )
    if dice is not None and not dice.equal:
        found.append(
            f"the mean Dice{what} differs by {dice.difference:+.5f}{dice.ends}, more than "
            f"{DICE_DIFFERENCE:g}"
        )
    return found


def dice_of(truth: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int) -> list[float]:
    """Of each class but the background; NaN where it is in neither."""
    counts = truth != IGNORED
    matrix = confusion(truth[counts], labels[counts], classes)
    return [dice(one) for one in counts_by_class(matrix)[1:]]


def dice_difference(
    scores: dict[str, list[list[float]]], groups: Sequence[str]
) -> DiceDifference | None:
    """That of cases with references; None without any.

    Parameters
    ----------
    scores : of the cases by "export" and "flexseg", as `dice_of` gives them.
    groups : of the cases.
    """
    if not scores["flexseg"]:
        return None
    export, flexseg = (np.array(scores[name]) for name in ("export", "flexseg"))
    # A class that only one of the two marks is a difference as well.
    apart = np.nan_to_num(export) - np.nan_to_num(flexseg)
    apart[np.isnan(export) & np.isnan(flexseg)] = np.nan
    draws = bootstrap_means(apart, groups)
    some = ~np.isnan(apart).all(axis=0)
    varied = draws[:, some & ~np.isnan(draws).all(axis=0)]
    ends = interval(np.nanmean(varied, axis=1)) if varied.size else None
    low, high = ends or (None, None)
    own, theirs, both = (mean_or_none(np.ravel(one)) or 0.0 for one in (export, flexseg, apart))
    return DiceDifference(own, theirs, both, low, high)
