"""The proof that an export predicts as `flexseg infer` does, case by case."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.errors import DataError
from flexseg.evaluation.aggregate import bootstrap_means, interval, mean_or_none
from flexseg.evaluation.metrics.counts import confusion, counts_by_class
from flexseg.evaluation.metrics.overlap import dice
from flexseg.export.artefacts.artefact_format import Artefact
from flexseg.export.proof_cases import ProofCases
from flexseg.inference.predictor import Predictor

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
    def equal(self) -> bool:
        """Whether the interval lies within what is taken for equal."""
        ends = [end for end in (self.low, self.high, self.difference) if end is not None]
        return all(abs(end) <= DICE_DIFFERENCE for end in ends)


@dataclass(frozen=True)
class Parity:
    """How far an export and flexseg agree on the same images.

    Attributes
    ----------
    what : the images are.
    equal_labels : share of the pixels.
    least_equal_labels : that share in the image where it is least.
    largest_difference : of two probabilities.
    dice : None without references.
    seconds : per image, by "export" and "flexseg", in turn, one image at a time.
    memory : bytes that each took at most, by the same names, of whole processes; absent where
        nobody tells.
    engine : of flexseg.
    """

    what: str
    cases: int
    pixels: int
    equal_labels: float
    least_equal_labels: float
    largest_difference: float
    dice: DiceDifference | None
    seconds: dict[str, float]
    engine: str
    memory: dict[str, int] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Why this is no proof; empty if it is one."""
        found = []
        if not self.equal_labels >= EQUAL_LABELS:
            found.append(
                f"{self.equal_labels:.3%} of the labels are equal, less than {EQUAL_LABELS:.1%}"
            )
        if self.dice is not None and not self.dice.equal:
            low, high = self.dice.low, self.dice.high
            ends = "" if low is None or high is None else f" ({low:+.4f} to {high:+.4f})"
            found.append(
                f"the mean Dice differs by {self.dice.difference:+.4f}{ends}, more than "
                f"{DICE_DIFFERENCE:g}"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"proven": not self.problems()}


def compare(
    predictor: Predictor,
    artefact: Artefact,
    proof: ProofCases,
    pixels: np.dtype,
    on_case: Callable[[int, int], None] | None = None,
) -> Parity:
    """Predict all cases by both, in turn.

    Parameters
    ----------
    pixels : type of the images that the artefact takes.
    on_case : called with (done, total).

    Raises
    ------
    DataError : an image is of another type, or cannot be read.
    """
    classes = len(predictor.package.labels.classes)
    equal: list[float] = []
    scores: dict[str, list[list[float]]] = {"export": [], "flexseg": []}
    seconds = dict.fromkeys(scores, 0.0)
    count, largest = 0, 0.0
    for number, case in enumerate(proof.cases):
        image, truth = case.read()
        if image.dtype != pixels:
            raise DataError(
                f"The pixels are {image.dtype}, but the export takes {pixels}.",
                "Set --pixels to the type of the images, or give --cases of one type.",
                case.name,
            )
        if not number:  # engines prepare themselves with the first image
            artefact(image[None])
            _expected(predictor, case.name, image)
        begin = time.perf_counter()
        labels, p = (answer[0] for answer in artefact(image[None]))
        middle = time.perf_counter()
        expected, q = _expected(predictor, case.name, image)
        seconds["export"] += middle - begin
        seconds["flexseg"] += time.perf_counter() - middle
        largest = max(largest, float(np.abs(p - q).max()))
        final = {
            "export": predictor.postprocess(labels),
            "flexseg": predictor.postprocess(expected),
        }
        equal.append(float((final["export"] == final["flexseg"]).mean()))
        count += labels.size
        if truth is not None:
            for name, own in final.items():
                scores[name].append(_dice(truth, own, classes))
        if on_case is not None:
            on_case(number + 1, len(proof.cases))
    sizes = len(proof.cases)
    return Parity(
        proof.what,
        sizes,
        count,
        float(np.mean(equal)),
        min(equal),
        largest,
        _difference(scores, [case.group for case in proof.cases]),
        {name: total / sizes for name, total in seconds.items()},
        f"{predictor.engine.name} {predictor.engine.precision}",
    )


def _expected(
    predictor: Predictor, name: str, image: NDArray
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    ((_, _, p),) = predictor.probabilities([(name, image)])
    return predictor.labels(p), p


def _dice(truth: NDArray[np.uint8], labels: NDArray[np.uint8], classes: int) -> list[float]:
    """Of each class but the background; NaN where it is in neither."""
    counts = truth != IGNORED
    matrix = confusion(truth[counts], labels[counts], classes)
    return [dice(one) for one in counts_by_class(matrix)[1:]]


def _difference(
    scores: dict[str, list[list[float]]], groups: Sequence[str]
) -> DiceDifference | None:
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
