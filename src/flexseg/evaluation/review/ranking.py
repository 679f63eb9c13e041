"""Which annotations of a set look wrong, the most suspicious first.

A case is compared with what is usual in its set, in robust standard deviations (median and median
absolute deviation), so that a few wrong annotations do not hide each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.marks.class_names import quoted
from flexseg.evaluation.review.evidence import CaseEvidence, DoubtfulObject

Kind = Literal[
    "shifted",
    "classes exchanged",
    "mask of another case",
    "object missing",
    "object invented",
    "object of another class",
    "disagrees altogether",
    "",
]
# From this score on an annotation is suspicious.
SUSPICIOUS = 4.0
# Fewer cases do not tell what is usual.
FEWEST_CASES = 10
# Of a standard deviation, where a set has hardly any differences.
_LEAST_SPREAD, _LEAST_EXCESS = 0.02, 0.25
# Disagreement that no simple mistake explains counts half: such cases are mostly hard ones.
_UNEXPLAINED = 0.5
# From so many deviations on, objects explain why annotation and prediction disagree.
_EXPLAINS = 1.0
# Errors of predictions are not 0.
_LEAST_ERROR = 0.02
# Shares of the set: what fits as most do, the largest of the usual objects, usual counts.
_AS_MOST, _LARGEST, _USUAL = 0.1, 0.99, 0.9
# An object's radius as a share of that of most objects of its class.
_OBJECT_LIKE = 0.5
# Of the radius, and of the area, beyond the largest of the usual objects.
_LARGER_RADIUS, _LARGER_AREA = 1.2, 1.5
# Variance of a count beside that of chance.
_EXTRA_VARIANCE = 0.1


@dataclass(frozen=True)
class Suspicion:
    """How suspicious an annotation is.

    Attributes
    ----------
    score : in robust standard deviations; suspicious from `SUSPICIOUS` on.
    kind : the mistake that explains the disagreement best; "" without a suspicion.
    evidence : why, for people.
    """

    case: Case
    score: float
    kind: Kind
    evidence: str

    @property
    def suspicious(self) -> bool:
        """Somebody should look at it."""
        return self.score >= SUSPICIOUS


def rank(found: Sequence[CaseEvidence], labels: LabelMap) -> list[Suspicion]:
    """All cases, the most suspicious first; of equal ones in their order."""
    if not found:
        return []
    usual = _Usual(found, labels)
    return sorted(map(usual.judge, range(len(found))), key=lambda one: -one.score)


class _Usual:
    """What is usual in a set, and how far each case is from it."""

    def __init__(self, found: Sequence[CaseEvidence], labels: LabelMap) -> None:
        self.found = found
        self.names = {c.id: quoted(c.name) for c in labels.classes}
        classes = range(1, len(labels.classes))
        radii = {c: np.concatenate([one.objects[c][0] for one in found]) for c in classes}
        areas = {c: np.concatenate([one.objects[c][1] for one in found]) for c in classes}
        self.radius = {c: float(np.median(r)) if len(r) else math.inf for c, r in radii.items()}
        self.largest_radius = {c: _LARGER_RADIUS * _largest(r) for c, r in radii.items()}
        self.largest_area = {c: _LARGER_AREA * _largest(a) for c, a in areas.items()}
        sums, pixels = np.sum([one.confidence for one in found], axis=0).T
        # Confident learning: sure of a class is who is as sure as the network mostly is there.
        self.sure = np.where(pixels > 0, sums / np.maximum(pixels, 1), 1.0)
        self.agreement = float(np.median([one.agreement for one in found]))
        fits = [float(one.annotation @ one.prediction) for one in found]
        self.least_fit, self.fit = np.quantile(fits, (_AS_MOST, 0.5))
        plausible = np.array([self._plausible(one) for one in found])
        self.disagreement = _disagreement(found) * plausible
        self.shifts = _deviations([one.shifted - one.agreement for one in found])
        gains = [one.exchange.agreement - one.agreement if one.exchange else 0.0 for one in found]
        self.exchanges = _deviations(np.maximum(gains, 0))
        self.missing = plausible * self._excess(lambda doubt: doubt.annotated == 0)
        self.invented = plausible * self._excess(lambda doubt: doubt.predicted == 0)
        self.confused = plausible * self._excess(lambda d: min(d.annotated, d.predicted) > 0)

    def judge(self, i: int) -> Suspicion:
        """The suspicion about a case."""
        one = self.found[i]
        parts: dict[Kind, float] = {
            "object missing": float(self.missing[i]),
            "object invented": float(self.invented[i]),
            "object of another class": float(self.confused[i]),
        }
        kind, of_parts = max(parts.items(), key=itemgetter(1))
        unexplained = _UNEXPLAINED * float(self.disagreement[i])
        score = max(0.0, of_parts, unexplained)
        if unexplained > of_parts and of_parts < _EXPLAINS:
            kind = "disagrees altogether"
        # A mistake that explains most goes before the objects that are wrong by it.
        exchanged = one.exchange.agreement if one.exchange else 0.0
        whole: list[tuple[float, float, Kind]] = [
            (one.shifted, float(self.shifts[i]), "shifted"),
            (exchanged, float(self.exchanges[i]), "classes exchanged"),
        ]
        agreement, deviations, name = max(whole)
        if deviations >= SUSPICIOUS and agreement >= (one.agreement + self.agreement) / 2:
            kind, score = name, max(score, deviations)
        elif score >= SUSPICIOUS and (other := self._other(i)) is not None:
            told = f"The annotation fits {other.case.id} better than this image."
            return Suspicion(one.case, score, "mask of another case", told)
        if score < SUSPICIOUS:
            return Suspicion(one.case, score, "", "")
        return Suspicion(one.case, score, kind, self._evidence(one, kind))

    def _plausible(self, one: CaseEvidence) -> float:
        """The share of the prediction that objects of a usual size make up: where a network
        marks half of a picture it has failed, and says nothing of the annotation."""
        good = sum(float(a[a <= self.largest_area[c]].sum()) for c, a in one.parts.items())
        total = sum(float(a.sum()) for a in one.parts.values())
        return good / total if total else 1.0

    def _counts(self, doubt: DoubtfulObject) -> float:
        """How much of an object a doubt is, from 0 to 1."""
        c = doubt.predicted or doubt.annotated
        share = doubt.radius / self.radius[c]
        sure = doubt.confidence >= self.sure[doubt.predicted]
        if not sure or share < _OBJECT_LIKE or doubt.radius > self.largest_radius[c]:
            return 0.0
        return min(1.0, share**2) * (1.0 if doubt.alone else 0.5)

    def _excess(self, kind: Callable[[DoubtfulObject], bool]) -> NDArray[np.float64]:
        """Doubtful objects of a kind beyond what is usual for so many objects."""
        counts = np.array(
            [sum(self._counts(d) for d in one.doubts if kind(d)) for one in self.found]
        )
        objects = np.array(
            [max(1, sum(len(a) for _, a in one.objects.values())) for one in self.found]
        )
        usual = counts <= np.quantile(counts, _USUAL)
        expected = objects * (counts[usual].sum() + 0.5) / objects[usual].sum()
        return np.asarray((counts - expected) / np.sqrt(expected + _EXTRA_VARIANCE))

    def _other(self, i: int) -> CaseEvidence | None:
        """The case whose prediction the annotation fits as if it were its own."""
        own = self.found[i]
        fits = np.array([own.annotation @ one.prediction for one in self.found])
        mine, fits[i] = fits[i], -1.0
        best = int(fits.argmax())
        clear = fits[best] >= self.least_fit and fits[best] - mine >= (self.fit - mine) / 2
        return self.found[best] if clear else None

    def _evidence(self, one: CaseEvidence, kind: Kind) -> str:
        if kind == "shifted":
            down, right = one.shift
            return (
                f"Moved {abs(right):.0%} of the width to the {'right' if right > 0 else 'left'} "
                f"and {abs(down):.0%} of the height {'down' if down > 0 else 'up'}, it would agree "
                f"with the prediction at {one.shifted:.2f} instead of {one.agreement:.2f} (1 is "
                "perfect)."
            )
        if kind == "classes exchanged" and one.exchange is not None:
            names = f"{self.names[one.exchange.first]} and {self.names[one.exchange.second]}"
            return (
                f"With {names} swapped, it would agree with the prediction at "
                f"{one.exchange.agreement:.2f} instead of {one.agreement:.2f} (1 is perfect)."
            )
        if kind == "disagrees altogether":
            return (
                f"The Dice with the prediction is {one.dice:.2f}, though the network is sure "
                f"({one.sureness:.2f})."
            )
        return self._objects_in_words(one, kind)

    def _objects_in_words(self, one: CaseEvidence, kind: Kind) -> str:
        """How many objects are in doubt, by class."""
        counts: dict[tuple[int, int], int] = {}
        for d in one.doubts:
            own = (
                "object missing" if d.annotated == 0
                else "object invented" if d.predicted == 0
                else "object of another class"
            )  # fmt: skip
            if own == kind and self._counts(d) > 0:
                pair = d.annotated, d.predicted
                counts[pair] = counts.get(pair, 0) + 1
        told = []
        for (annotated, predicted), count in sorted(counts.items()):
            a, b = self.names[annotated], self.names[predicted]
            told.append(
                f"{amount(count, 'place')}: annotated as {a}, but the network is sure of {b}"
            )
        return "; ".join(told)[:1].upper() + "; ".join(told)[1:] + "."


def _largest(values: NDArray) -> float:
    return float(np.quantile(values, _LARGEST)) if len(values) else math.inf


def _deviations(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Robust standard deviations above the median."""
    array = np.asarray(values, float)
    middle = np.median(array)
    spread = 1.4826 * float(np.median(np.abs(array - middle)))
    return np.asarray((array - middle) / max(spread, _LEAST_SPREAD))


def _disagreement(found: Sequence[CaseEvidence]) -> NDArray[np.float64]:
    """How far the Dice is below what the network's sureness promises, in deviations.

    A hard case promises little. The promise is a line, fitted so that single cases do not matter
    (Huber's weights).
    """
    sureness = np.array([one.sureness for one in found])
    dice = np.array([one.dice for one in found])
    design = np.stack([np.ones_like(sureness), sureness], axis=-1)
    weights = np.ones(len(dice))
    for _ in range(20):
        root = np.sqrt(weights)
        line = np.linalg.lstsq(design * root[:, None], dice * root, rcond=None)[0]
        residuals = np.abs(dice - design @ line)
        limit = 1.5 * max(1.4826 * float(np.median(residuals)), 1e-6)
        weights = np.minimum(1, limit / np.maximum(residuals, 1e-9))
    promised = np.clip(design @ line, 0, 1)
    excess = (promised - dice) / np.maximum(1 - promised, _LEAST_ERROR)
    middle = np.median(excess)
    spread = 1.4826 * float(np.median(np.abs(excess - middle)))
    return np.asarray((excess - middle) / max(spread, _LEAST_EXCESS))
