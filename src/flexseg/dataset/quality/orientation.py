"""Which mirror images and turns of its images a dataset could hold as well, and which never.

One answer for the augmentation of plans and repairs, for searches, and for test-time views.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flexseg.config.findings import amount
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.quality.mirrors import Flip, mirrored_classes, small_masks
from flexseg.dataset.quality.sides import one_side

FLIPS: tuple[Flip, ...] = ("hflip", "vflip")
FLIP_WORDS: dict[Flip, str] = {"hflip": "left-right", "vflip": "top-bottom"}
# Where up and down are what they are, images are turned by no more than this.
_UPRIGHT = (-20.0, 20.0)
_ANY_WAY = (-180.0, 180.0)
# A class is taken to be always in the same half unless the masks exclude that so large a share of
# them has it there.
_ONE_SIDED = 0.9
# In images with one way up, a flip changes nothing if each half is that of a class in at least so
# large a share of the masks.
_EITHER_HALF = 0.25
# Difference of the halves, as a share of the class, that counts.
_CLEARLY = 0.2
# Of the intervals at 95 %.
_Z = 1.96
_HALVES: dict[Flip, tuple[str, str]] = {
    "hflip": ("left", "right"),
    "vflip": ("upper", "lower"),
}


@dataclass(frozen=True)
class Judgement:
    """Whether a flip is harmless, and why."""

    harmless: bool
    reason: str


@dataclass(frozen=True)
class Orientation:
    """What may be done to images without making some that never come.

    A half turn is both flips after each other, and quarter turns lay rows as columns: both are
    harmless where each flip is.
    """

    flips: dict[Flip, Judgement]

    @property
    def harmless(self) -> tuple[Flip, ...]:
        """The flips that are."""
        return tuple(flip for flip in FLIPS if self.flips[flip].harmless)

    @property
    def degrees(self) -> tuple[float, float]:
        """The angles by which images may be turned."""
        return _ANY_WAY if len(self.harmless) == len(FLIPS) else _UPRIGHT

    @property
    def views(self) -> list[str]:
        """The same in the words of `[infer] tta`."""
        return ["flips"] if len(self.harmless) == len(FLIPS) else [*self.harmless]

    @property
    def why_not(self) -> str:
        """Why flips are left out; empty where none is."""
        return "; ".join(
            f"{FLIP_WORDS[flip]}: {self.flips[flip].reason}"
            for flip in FLIPS
            if flip not in self.harmless
        )

    def and_of(self, other: Orientation) -> Orientation:
        """What is harmless by both, of slices along different axes for one network."""
        return Orientation(
            {f: self.flips[f] if not self.flips[f].harmless else other.flips[f] for f in FLIPS}
        )


def orientation_of(labels: LabelMap, cases: Sequence[Case]) -> Orientation:
    """The flips of a dataset that make no image which never comes.

    Objects that may lie in any way are learned from their mirror images too. Anatomy that is
    always shown in the same way is not, least of all where a class is a side: mirrored, a left
    organ looks like the right one. A flip is left out

    - if a class is called a side, or one class, mirrored, lies where another one does;
    - if a class may always be in the same half: by Wilson's interval at 95 %, it is not excluded
      that nine in ten patients have it there. Few masks exclude nothing; where another class is
      seen as often in either half, a rare one needs to be seen mostly in one;
    - if the other flip is left out, so that the images have one way up, there are several classes,
      and the masks do not show that each is in either half in a quarter of the patients at least.

    Parameters
    ----------
    cases : for training; their groups, the patients, count once. Without any, names alone decide.
    """
    mirrored = mirrored_classes(labels, cases)
    halves = _halves(labels, cases) if cases else {flip: {} for flip in FLIPS}
    judged = {flip: _first_look(labels, flip, mirrored, halves[flip]) for flip in FLIPS}
    result = dict(judged)
    if cases and len(labels.foreground) > 1:
        for flip, other in zip(FLIPS, reversed(FLIPS), strict=True):
            if judged[flip].harmless and not judged[other].harmless:
                result[flip] = _second_look(labels, flip, halves[flip])
    return Orientation(result)


def _first_look(
    labels: LabelMap,
    flip: Flip,
    mirrored: dict[Flip, tuple[str, str]],
    halves: dict[int, list[float]],
) -> Judgement:
    if flip in mirrored:
        a, b = mirrored[flip]
        return Judgement(False, f"mirrored, {a} would look like {b}")
    if flip == "hflip" and (side := one_side(c.name for c in labels.foreground)):
        return Judgement(False, f"{side} names a side")
    anywhere = any(_is_even(seen) for seen in halves.values())
    for c in labels.foreground if halves else ():
        seen = halves[c.id]
        if not seen and not anywhere:
            return Judgement(False, f"none of the masks looked at shows {c.name}")
        in_second = sum(half == 1 for half in seen)
        most = max(in_second, sum(half == 0 for half in seen))
        low, high = _wilson(most, len(seen))
        if high >= _ONE_SIDED and (low > 0.5 or not anywhere):
            half = _HALVES[flip][in_second == most]
            told = (
                "the images have a fixed orientation"
                if low > 0.5
                else "too few cases to tell where it may be"
            )
            where = f"{c.name} is in the {half} half in {most} of {len(seen)} cases"
            return Judgement(False, f"{where}, {told}")
    likely = f"mirrored {FLIP_WORDS[flip]}, the masks look just as plausible"
    return Judgement(True, f"{likely}; 0 if such images never occur")


def _second_look(labels: LabelMap, flip: Flip, halves: dict[int, list[float]]) -> Judgement:
    for c in labels.foreground:
        if not _is_even(halves[c.id]):
            why = (
                "the images have a fixed orientation, and "
                f"{amount(len(halves[c.id]), 'case', 'does', 'do')} not show whether {c.name} is "
                f"as often in the {' as in the '.join(_HALVES[flip])} half"
            )
            return Judgement(False, why)
    return Judgement(True, f"mirrored {FLIP_WORDS[flip]}, the classes are in the same places")


def _is_even(halves: Sequence[float]) -> bool:
    """Each half has its part of the cases for certain."""
    low, high = _wilson(sum(halves), len(halves))
    return low >= _EITHER_HALF and high <= 1 - _EITHER_HALF


def _halves(labels: LabelMap, cases: Sequence[Case]) -> dict[Flip, dict[int, list[float]]]:
    """Per flip and class the half of each group of cases that shows the class: 0 the first, 1 the
    second, 0.5 where neither has clearly more of it."""
    leaning: dict[tuple[int, str], list[list[float]]] = {}
    for case, small in small_masks(labels, cases):
        for c in labels.foreground:
            shown = small == c.id
            if shown.any():
                leaning.setdefault((c.id, case.group), []).append([_leaning(shown, 1),
                                                                   _leaning(shown, 0)])  # fmt: skip
    result: dict[Flip, dict[int, list[float]]] = {
        flip: {c.id: [] for c in labels.foreground} for flip in FLIPS
    }
    for (class_id, _), seen in leaning.items():
        for flip, mean in zip(FLIPS, np.mean(seen, axis=0), strict=True):
            half = 0.5 if abs(mean) <= _CLEARLY else float(mean > 0)
            result[flip][class_id].append(half)
    return result


def _leaning(shown: np.ndarray, axis: int) -> float:
    """How much more of a class is in the second half than in the first, as a share of it."""
    first, second = (int(half.sum()) for half in np.split(shown, 2, axis=axis))
    return (second - first) / (first + second)


def _wilson(count: float, total: int) -> tuple[float, float]:
    """The interval of a share (E. B. Wilson 1927); of none, 0 to 1."""
    if total == 0:
        return 0.0, 1.0
    share, z2 = count / total, _Z**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return middle - half, middle + half
