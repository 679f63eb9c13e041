"""Whether a model that has learned takes the place of the one before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flexseg.evaluation.aggregate import bootstrap_means, interval

# A mean Dice that is less by no more than this, for certain, is not worse.
MARGIN = 0.01
# With fewer validation cases one more or less decides: then training cases are held out in turn.
FEWEST_CASES = 8


@dataclass(frozen=True)
class Acceptance:
    """The comparison of both models on the same cases, none of which either was trained on.

    Attributes
    ----------
    cases : that could be scored.
    held_out : they are corrections that were held out in turn, not the validation cases.
    old, new : mean Dice over cases; NaN where there are none.
    difference : new - old, the mean of the paired differences.
    low, high : bounds of its 95 % interval, bootstrapped over groups; None: too few groups.
    """

    cases: int
    held_out: bool
    old: float
    new: float
    difference: float
    low: float | None
    high: float | None

    @property
    def taken(self) -> bool:
        """The new model is not worse: its mean is as high, or for certain hardly lower."""
        if not self.cases:
            return False
        return self.difference >= 0 or (self.low is not None and self.low > -MARGIN)

    @property
    def reason(self) -> str:
        """In a sentence."""
        if not self.cases:
            return "No case could be held out to compare both: correct some more."
        ends = "" if self.low is None else f" ({self.low:+.3f} to {self.high:+.3f})"
        what = "corrections held out in turn" if self.held_out else "validation cases"
        told = (
            f"mean Dice {self.old:.3f} before, {self.new:.3f} after, {self.difference:+.3f}{ends}"
        )
        tolerated = f" by more than {MARGIN}" if self.taken and self.difference < 0 else ""
        verdict = f"Not worse{tolerated}" if self.taken else "Worse"
        return f"{verdict} on {self.cases} {what}: {told}."

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"taken": self.taken, "reason": self.reason}


def accept(
    old: Mapping[str, float],
    new: Mapping[str, float],
    groups: Mapping[str, str],
    *,
    held_out: bool = False,
) -> Acceptance:
    """Compare two models by the mean Dice of the same cases.

    Parameters
    ----------
    old, new : case -> mean Dice of its classes; NaN where it shows none and none was predicted.
    groups : case -> its group; cases of one are not independent.
    """
    both = [case for case in old if case in new and np.isfinite([old[case], new[case]]).all()]
    if not both:
        return Acceptance(0, held_out, float("nan"), float("nan"), float("nan"), None, None)
    before, after = (np.array([scores[case] for case in both]) for scores in (old, new))
    apart = after - before
    ends = interval(bootstrap_means(apart[:, None], [groups[case] for case in both])[:, 0])
    low, high = ends or (None, None)
    means = [float(one.mean()) for one in (before, after, apart)]
    return Acceptance(len(both), held_out, means[0], means[1], means[2], low, high)
