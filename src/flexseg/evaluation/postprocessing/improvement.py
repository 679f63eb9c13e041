"""Whether a step of postprocessing helps, or only seems to on the cases at hand.

nnU-Net keeps a step if it improves the mean Dice of the validation cases (Isensee et al. 2021,
Nature Methods 18), and so does noise in half of all trials. Here a step is kept only if

- the interval of its mean gain lies above 0. It is paired and bootstrapped over groups, and where
  the best of several values is looked for, it is that much wider (Bonferroni), so that a step
  without any effect is kept in at most one of 40 trials;
- at least `FEWEST` groups change: with fewer, chance alone moves all to one side in more than one
  of 20 trials, and a bootstrap interval is too narrow to tell;
- the gain is at least `MARGIN`: less is not worth a rule that may surprise on other data;
- the Dice of the cases that have the class does not pay for it by more than `MARGIN`.

Where fewer groups change, as with few cases or a rare class, parts that are dropped may still be
clear evidence (`clear_by_parts`): at least `FEWEST_OF_PARTS` groups change, none for the worse; by
far more of the parts are false than right, which chance would do in at most one of 40 trials; and
the step would leave the references as they are, those of the training included, so that a class
which truly has several objects keeps them.

The score of a case is its Dice; without the class in the reference it is 1 if none is predicted,
else 0, because not to invent objects is most of what postprocessing is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from flexseg.evaluation.aggregate import bootstrap_means, mean_or_none, rounded

StepValue = bool | int | float | str
MARGIN = 0.001
FEWEST = 5
FEWEST_OF_PARTS = 2
_RESAMPLES = 10_000
_DRAWS = 2e7


@dataclass(frozen=True)
class Counts:
    """Pixels of one class in several cases (or volumes), int64 [cases] each."""

    common: NDArray[np.int64]
    predicted: NDArray[np.int64]
    reference: NDArray[np.int64]

    @property
    def score(self) -> NDArray[np.float64]:
        """Dice [cases]; 1 where the class is in neither."""
        both = self.predicted + self.reference
        return np.where(both > 0, 2 * self.common / np.maximum(both, 1), 1.0)

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice [cases]; NaN without the class in the reference."""
        return np.where(self.reference > 0, self.score, np.nan)


@dataclass(frozen=True)
class Trial:
    """One value of one step, tried.

    Attributes
    ----------
    kind : "2d" (images) or "3d" (volumes).
    class_name : of the class that it changes.
    step, value : as `[postprocess]` and `[infer]` name them.
    cases, groups : that it was tried on; `changed` groups have another score than before, `worse`
        of them a lower one.
    before, after : mean score.
    gain : mean difference of the scores; `low` and `high` bound its interval, whose level is
        `level`; None where too few groups leave none.
    dice_gain : mean difference of Dice over the cases that have the class.
    kept : whether it is part of the choice.
    reason : why, or why not.
    """

    kind: str
    class_name: str
    step: str
    value: StepValue
    cases: int
    groups: int
    changed: int
    worse: int
    before: float
    after: float
    gain: float
    low: float | None
    high: float | None
    level: float
    dice_gain: float | None
    kept: bool
    reason: str

    def as_dict(self) -> dict[str, StepValue | None]:
        """Plain JSON types, by `COLUMNS`."""
        return {
            name: rounded(cell) if isinstance(cell, float) else cell
            for name, cell in vars(self).items()
        }


COLUMNS = tuple(Trial.__dataclass_fields__)


def best_of(trials: Sequence[Trial]) -> tuple[list[Trial], Trial | None]:
    """Of the trials that may be kept the one with the highest gain is; the first of equals.

    Returns all with the others no longer kept, and the one.
    """
    good = [trial for trial in trials if trial.kept]
    if not good:
        return list(trials), None
    best = max(good, key=lambda trial: trial.gain)
    others = f"{best.step} = {best.value} is better"
    updated = [
        replace(trial, kept=False, reason=others) if trial.kept and trial is not best else trial
        for trial in trials
    ]
    return updated, best


def without_harm(trial: Trial, elsewhere: Sequence[Trial]) -> Trial:
    """A trial that is kept only if the same step harms none of the other kinds of cases."""
    for other in elsewhere:
        losses = [value for value in (other.gain, other.dice_gain) if value is not None]
        if trial.kept and min(losses) < -MARGIN:
            return replace(trial, kept=False, reason=f"it harms in {other.kind}")
    return trial


def compare_scores(
    what: tuple[str, str, str, StepValue],
    before: Sequence[Counts],
    after: Sequence[Counts],
    groups: Sequence[str],
    values: int = 1,
) -> Trial:
    """Compare the scores of the same cases before and after a step.

    Parameters
    ----------
    what : kind, class name, step and value of the trial.
    before, after : of one class, or of several whose scores are averaged.
    groups : one name per case.
    values : number of values that the best is looked for among.
    """
    old = np.mean([counts.score for counts in before], axis=0)
    new = np.mean([counts.score for counts in after], axis=0)
    change = new - old
    names = np.asarray(groups)
    number = len(set(groups))
    totals = [change[names == name].sum() for name in set(names[np.abs(change) > 1e-12])]
    changed = len(totals)
    level = 1 - 0.05 / values
    low, high = _interval(change, groups, level) if number > 1 else (None, None)
    parts = [a.dice - b.dice for a, b in zip(after, before, strict=True)]
    dice_gain = mean_or_none(np.concatenate(parts))
    gain = float(change.mean())
    reason = _why_not(gain, low, changed, dice_gain)
    return Trial(
        *what,
        cases=len(change),
        groups=number,
        changed=changed,
        worse=sum(bool(total < 0) for total in totals),
        before=float(old.mean()),
        after=float(new.mean()),
        gain=gain,
        low=low,
        high=high,
        level=level,
        dice_gain=dice_gain,
        kept=not reason,
        reason=reason or "the interval of the gain is above 0",
    )


def _interval(
    change: NDArray[np.float64], groups: Sequence[str], level: float
) -> tuple[float, float]:
    resamples = int(min(_RESAMPLES, max(2000, _DRAWS / len(groups))))
    draws = bootstrap_means(change[:, None], groups, resamples)[:, 0]
    tail = 50 * (1 - level)
    low, high = np.percentile(draws, (tail, 100 - tail))
    return float(low), float(high)


def clear_by_parts(
    trial: Trial,
    false: int,
    right: int,
    references: Callable[[], Sequence[tuple[str, float]]],
    values: int = 1,
) -> Trial:
    """A trial that too few groups change, kept if what it drops is clearly false.

    Parameters
    ----------
    false, right : parts that it drops.
    references : group and Dice of each reference that shows the class after the same step; only
        asked for where they decide.
    values : number of values that the best is looked for among.
    """
    clear = (
        not trial.kept
        and FEWEST_OF_PARTS <= trial.changed < FEWEST
        and not trial.worse
        and trial.gain >= MARGIN
        and (trial.dice_gain is None or trial.dice_gain >= -MARGIN)
        and bdtrc(false - 1, false + right, 0.5) <= 0.025 / values
    )
    if not clear:
        return trial
    known = references()
    groups = len({group for group, _ in known})
    if groups < FEWEST or np.mean([dice for _, dice in known]) < 1 - MARGIN:
        return replace(
            trial, reason="the same step would change references, or there are too few of them"
        )
    reason = f"{false} of {false + right} dropped parts are false, and references stay unchanged"
    return replace(trial, kept=True, reason=reason)


def _why_not(gain: float, low: float | None, changed: int, dice_gain: float | None) -> str:
    if not changed:
        return "nothing changes"
    if gain <= 0:
        return "the mean does not improve"
    if changed < FEWEST:
        return f"fewer than {FEWEST} groups change"
    if low is None or low <= 0:
        return "the interval of the gain includes 0"
    if gain < MARGIN:
        return f"the gain is below {MARGIN:g}"
    if dice_gain is not None and dice_gain < -MARGIN:
        return "the Dice of the cases that have the class falls"
    return ""
