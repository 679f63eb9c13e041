"""Whether probabilities mean what they say: Brier score, calibration error, reliability.

Counts of pixels by probability are kept, not the probabilities: memory does not grow with the
number of cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.evaluation.aggregate import rounded
from flexseg.evaluation.json_values import Json, count, mapping, number, sequence
from flexseg.evaluation.metrics.counts import ratio
from flexseg.evaluation.metrics.masks import MaskPair
from flexseg.evaluation.metrics.metric import UNDEFINED, Metric, register

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Pixels by the probability that was claimed of something, and how often it was true.

    Attributes
    ----------
    pixels : number of pixels [BINS]; bin i holds probabilities from i / BINS to (i + 1) / BINS.
    claimed : sum of the probabilities [BINS].
    true : number of pixels where it was true [BINS].
    squared_error : sum over pixels of what makes up the Brier score.
    """

    pixels: NDArray[np.int64]
    claimed: NDArray[np.float64]
    true: NDArray[np.int64]
    squared_error: float

    @classmethod
    def of(
        cls, probability: NDArray[np.float32], true: NDArray[np.bool_], squared_error: float
    ) -> Reliability:
        """Count pixels of any shape."""
        p = probability.ravel()
        bins = np.clip((p * BINS).astype(np.int64), 0, BINS - 1)
        return cls(
            np.bincount(bins, minlength=BINS),
            np.bincount(bins, weights=p, minlength=BINS).astype(np.float64),
            np.bincount(bins[true.ravel()], minlength=BINS),
            squared_error,
        )

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.pixels + other.pixels,
            self.claimed + other.claimed,
            self.true + other.true,
            self.squared_error + other.squared_error,
        )

    @property
    def ece(self) -> float:
        """Expected calibration error: sum over bins of |true - claimed| / all pixels (Naeini
        et al. 2015; Guo et al. 2017)."""
        return ratio(float(np.abs(self.true - self.claimed).sum()), int(self.pixels.sum()))

    @property
    def brier(self) -> float:
        """Mean squared error of the probabilities (Brier 1950), 0 to 1."""
        return ratio(self.squared_error, int(self.pixels.sum()))

    def calibration(self) -> Calibration:
        """Both scores and the bins of the reliability diagram."""
        bins = [
            ReliabilityBin(
                i / BINS,
                (i + 1) / BINS,
                rounded(ratio(float(claimed), int(pixels))),
                rounded(ratio(int(true), int(pixels))),
                int(pixels),
            )
            for i, (pixels, claimed, true) in enumerate(
                zip(self.pixels, self.claimed, self.true, strict=True)
            )
        ]
        return Calibration(rounded(self.ece), rounded(self.brier), bins)


@dataclass(frozen=True)
class ReliabilityBin:
    """Pixels whose confidence is between `low` and `high`; None without pixels."""

    low: float
    high: float
    confidence: float | None
    accuracy: float | None
    pixels: int


@dataclass(frozen=True)
class Calibration:
    """Whether probabilities mean what they say."""

    ece: float | None
    brier: float | None
    bins: list[ReliabilityBin]

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        bins = [
            {
                "from": one.low,
                "to": one.high,
                "confidence": one.confidence,
                "accuracy": one.accuracy,
                "pixels": one.pixels,
            }
            for one in self.bins
        ]
        return {"ece": self.ece, "brier": self.brier, "bins": bins}

    @classmethod
    def from_dict(cls, entry: Json) -> Calibration:
        """Of a summary of any version."""
        bins = [
            ReliabilityBin(
                number(one.get("from")) or 0.0,
                number(one.get("to")) or 0.0,
                number(one.get("confidence")),
                number(one.get("accuracy")),
                count(one.get("pixels")),
            )
            for one in map(mapping, sequence(entry.get("bins")))
        ]
        return cls(number(entry.get("ece")), number(entry.get("brier")), bins)


def of_class(probability: NDArray[np.float32], reference: NDArray[np.bool_]) -> Reliability:
    """Calibration of one class against all others.

    Parameters
    ----------
    probability : of the class, [H, W] float32.
    reference : whether it is the class, [H, W].
    """
    error = probability - reference
    return Reliability.of(probability, reference, float(np.vdot(error, error)))


def of_decisions(
    probabilities: NDArray[np.float32],
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
) -> Reliability:
    """Calibration of the predicted classes: how often the prediction is right, by the
    probability of the predicted class.

    The Brier score is half of the squared distance between the probabilities of all classes
    and the one-hot reference, so that with two classes it is the mean of (p - y)^2.

    Parameters
    ----------
    probabilities : [H, W, classes] float32, the background included.
    reference, prediction : class ids [H, W]; where the reference is IGNORED, nothing counts.
    """
    counts = reference != IGNORED
    if not counts.all():
        probabilities = probabilities[counts]
        reference, prediction = reference[counts], prediction[counts]
    confidence = np.take_along_axis(probabilities, prediction[..., None].astype(np.intp), axis=-1)
    # The error first, and sums in float64: it is far smaller than what it is the difference of.
    error = probabilities.copy()
    truth = reference[..., None].astype(np.intp)
    of_truth = np.take_along_axis(error, truth, axis=-1)
    np.put_along_axis(error, truth, of_truth - 1, axis=-1)
    squares = float(np.einsum("...c,...c->...", error, error).sum(dtype=np.float64))
    return Reliability.of(confidence, prediction == reference, squares / 2)


def with_background(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [H, W, classes], also where the network has one sigmoid channel."""
    if probabilities.shape[-1] > 1:
        return probabilities
    return np.concatenate([1 - probabilities, probabilities], axis=-1)


def _of_pair(pair: MaskPair) -> Reliability | None:
    if pair.probability is None:
        return None
    if pair.ignored is None:
        return of_class(pair.probability, pair.reference)
    return of_class(pair.probability[~pair.ignored], pair.reference[~pair.ignored])


def brier(pair: MaskPair) -> float:
    """Mean over the pixels of a case of (p - y)^2, p the probability of the class, y whether it is
    there (Brier 1950)."""
    found = pair.shared(_of_pair)
    return found.brier if found else UNDEFINED


def ece(pair: MaskPair) -> float:
    """Expected calibration error of the same p: sum over bins of share of pixels x abs(mean p -
    share of y) (Naeini et al. 2015)."""
    found = pair.shared(_of_pair)
    return found.ece if found else UNDEFINED


register(
    Metric(
        "brier",
        "Brier score",
        family="probabilities",
        unit="share",
        better="lower",
        meaning="Mean squared error of the probabilities.",
        from_masks=brier,
        false_positive=None,
        absent=None,
    )
)
register(
    Metric(
        "ece",
        "Calibration error",
        family="probabilities",
        unit="share",
        better="lower",
        meaning="Mean gap between confidence and accuracy.",
        from_masks=ece,
        false_positive=None,
        absent=None,
    )
)
