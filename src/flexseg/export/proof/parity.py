"""The proof that an export predicts as `flexseg infer` does, case by case."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.export.artefacts.artefact_format import Artefact
from flexseg.export.proof.agreement import DiceDifference, dice_difference, dice_of, differences
from flexseg.export.proof.proof_cases import ProofCases
from flexseg.export.proof.volume_parity import VolumeParity
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor


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
    doubt : why real cases were not compared; empty: they were.
    volumes : the same of whole volumes; None where the model is not of slices of these.
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
    doubt: str = ""
    volumes: VolumeParity | None = None

    def problems(self) -> list[str]:
        """Why this is no proof; empty if it is one."""
        found = differences(self.equal_labels, self.dice)
        if self.volumes is not None:
            found += differences(self.volumes.equal_labels, self.volumes.dice, " of whole volumes")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"proven": not self.problems()}


def compare(
    predictor: Predictor | TiledPredictor,
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
                scores[name].append(dice_of(truth, own, classes))
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
        dice_difference(scores, [case.group for case in proof.cases]),
        {name: total / sizes for name, total in seconds.items()},
        str(predictor.describe()["engine"]),
        doubt=proof.doubt,
    )


def _expected(
    predictor: Predictor | TiledPredictor, name: str, image: NDArray
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    ((_, _, p),) = predictor.probabilities([(name, image)])
    return predictor.labels(p), p
