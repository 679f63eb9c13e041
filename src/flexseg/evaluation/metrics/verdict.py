"""What the figures of a class come to, in a word: good, usable with checking, or failed.

The limits and why they are where they are: docs/explanation/verdicts.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from flexseg.config.findings import amount
from flexseg.evaluation.aggregate import Statistic

Grade = Literal["good", "usable with checking", "failed", "not tested"]

# The 95 % interval of the mean Dice must lie above: hardly a mean of so many cases would be lower.
GOOD_DICE = 0.8
# Below, wrong pixels outnumber the right ones by two to one.
FAILED_DICE = 0.5
# Shares of the cases that have the class in which it was missed altogether.
GOOD_MISSED, FAILED_MISSED = 0.05, 0.25
# Shares of the cases without the class in which it was marked.
GOOD_MARKED, FAILED_MARKED = 0.05, 0.5
# Share of the predicted objects that fit none. Alone it fails no class: specks weigh little, and
# `[postprocess] min_size` removes them.
GOOD_FALSE_OBJECTS = 0.25
# With an IoU of the class below that which an object must have to count as found, hardly an object
# found, and hardly a predicted one that fits: neither pixels nor objects are right.
FAILED_IOU = 0.5
FAILED_FOUND, FAILED_FALSE_OBJECTS = 0.25, 0.75
# Independent groups; the interval of fewer is too narrow to rely on.
GOOD_GROUPS = 10


@dataclass(frozen=True)
class Evidence:
    """The figures that a verdict is made of.

    Attributes
    ----------
    cases : what is counted, in the plural: "cases", or "groups" of which each counts as one.
    present, absent : how many have the class in their reference, and how many do not.
    missed, marked : in how many of these it was missed altogether, or marked nevertheless.
    groups : independent ones with the class.
    predicted_objects, false_objects, objects, found_objects : of all cases together, the latter two
        of the reference; 0 where objects are not counted.
    """

    dice: Statistic
    cases: str
    present: int
    missed: int
    absent: int
    marked: int
    groups: int
    predicted_objects: int = 0
    false_objects: int = 0
    objects: int = 0
    found_objects: int = 0


@dataclass(frozen=True)
class Verdict:
    """The grade of a class.

    Attributes
    ----------
    dice : the mean Dice with its interval, in words.
    reasons : what keeps it from a better grade; empty for a good one.
    """

    class_id: int
    name: str
    grade: Grade
    dice: str
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        """Dice and reasons, as a sentence."""
        text = "; ".join(part for part in (self.dice, *self.reasons) if part)
        return f"{text[:1].upper()}{text[1:]}."

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return asdict(self) | {"reasons": list(self.reasons)}


def verdict(class_id: int, name: str, found: Evidence) -> Verdict:
    """The grade of a class by its figures, with the reasons."""
    mean, interval = found.dice.mean, found.dice.ci95
    if mean is None:
        alone = f"; marked in {found.marked} of {found.absent} without it" if found.marked else ""
        return Verdict(
            class_id, name, "not tested", "", (f"no reference of these cases contains it{alone}",)
        )
    limits = f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    dice = f"Dice {mean:.3f}{limits}"
    failed, doubts = _dice_reasons(mean, interval)
    for count, total, good, fails, text in (
        (found.missed, found.present, GOOD_MISSED, FAILED_MISSED, "missed altogether in"),
        (found.marked, found.absent, GOOD_MARKED, FAILED_MARKED, "marked where it is absent, in"),
    ):
        share = count / max(total, 1)
        if share > good:
            # A single case is no rule.
            reasons = failed if share > fails and count > 1 else doubts
            cases = found.cases if total > 1 else found.cases.removesuffix("s")
            reasons.append(f"{text} {count} of {total} {cases}")
    if found.false_objects > GOOD_FALSE_OBJECTS * found.predicted_objects:
        text = (
            f"{found.false_objects} of {found.predicted_objects} predicted objects match none of "
            "the reference"
        )
        if _hardly_an_object(found, mean):
            failed.append(f"{found.found_objects} of {found.objects} objects found; {text}")
        else:
            doubts.append(text)
    if found.groups < GOOD_GROUPS:
        doubts.append(f"only {amount(found.groups, 'independent case')}")
    grade: Grade = "failed" if failed else "usable with checking" if doubts else "good"
    return Verdict(class_id, name, grade, dice, (*failed, *doubts))


def _hardly_an_object(found: Evidence, dice: float) -> bool:
    return (
        dice / (2 - dice) < FAILED_IOU
        and found.found_objects < FAILED_FOUND * found.objects
        and found.false_objects > FAILED_FALSE_OBJECTS * found.predicted_objects
    )


def _dice_reasons(mean: float, interval: tuple[float, float] | None) -> tuple[list[str], list[str]]:
    """What the Dice says for "failed", and what against "good"."""
    if mean < FAILED_DICE:
        return [f"below {FAILED_DICE:g}, more is wrong than right"], []
    if (interval[0] if interval else mean) < GOOD_DICE:
        may = "below" if mean < GOOD_DICE else "may be below"
        return [], [f"{may} {GOOD_DICE:g}"]
    return [], []
