"""What scoring one case tells, as it comes from a worker and lies in a manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flexseg.evaluation.metrics.calibration import Reliability
from flexseg.evaluation.metrics.counts import PixelCounts
from flexseg.evaluation.metrics.lesions import Lesions
from flexseg.evaluation.scoring import CaseResult, ClassScores

if TYPE_CHECKING:
    pass

Content = Any
# What is to be told of some cases.
RESIZED, UNDECIDED, SHEARED = "resized", "undecided", "sheared"


@dataclass(frozen=True)
class BatchFigures:
    """The original systems' figures of one batch, by name, times its images that count."""

    sums: dict[str, float]
    images: int


@dataclass(frozen=True)
class ScoredCase:
    """The scores of a case.

    Attributes
    ----------
    remarks : what else is to be told: RESIZED, the prediction had another size; UNDECIDED, it
        holds what is ignored; SHEARED, the axes of the volume are not at right angles.
    batch : of the network's batch that begins with this case; None: none does.
    """

    result: CaseResult
    remarks: tuple[str, ...] = ()
    batch: BatchFigures | None = None

    def as_json(self) -> Content:
        """All of it in plain JSON types, every digit included."""
        r = self.result
        return {
            "matrix": r.matrix.tolist(),
            "classes": [
                {
                    "counts": [int(count) for count in asdict(c.counts).values()],
                    "lesions": [
                        c.lesions.sizes.tolist(),
                        c.lesions.found.tolist(),
                        int(c.lesions.predicted),
                        int(c.lesions.false),
                    ],
                    "values": {name: _plain(value) for name, value in c.values.items()},
                }
                for c in r.classes
            ],
            "calibration": None
            if r.calibration is None
            else [
                r.calibration.pixels.tolist(),
                r.calibration.claimed.tolist(),
                r.calibration.true.tolist(),
                _plain(r.calibration.squared_error),
            ],
            "voxel_ml": _plain(r.voxel_ml),
            "ignored": r.ignored,
            "judgement": None if r.judgement is None else _judgements().dump_python(
                r.judgement, mode="json"
            ),
            "remarks": self.remarks,
            "batch": None if self.batch is None else asdict(self.batch),
        }  # fmt: skip

    @classmethod
    def from_json(cls, content: Content) -> ScoredCase:
        """What `as_json` has given."""
        calibration, judgement = content["calibration"], content["judgement"]
        result = CaseResult(
            np.array(content["matrix"], np.int64),
            tuple(
                ClassScores(
                    PixelCounts(*c["counts"]),
                    Lesions(
                        np.array(c["lesions"][0], np.int64),
                        np.array(c["lesions"][1], np.bool_),
                        *c["lesions"][2:],
                    ),
                    c["values"],
                )
                for c in content["classes"]
            ),
            None
            if calibration is None
            else Reliability(
                np.array(calibration[0], np.int64),
                np.array(calibration[1], np.float64),
                np.array(calibration[2], np.int64),
                calibration[3],
            ),
            content["voxel_ml"],
            content["ignored"],
            None if judgement is None else _judgements().validate_python(judgement),
        )
        batch = content["batch"]
        return cls(
            result, tuple(content["remarks"]), None if batch is None else BatchFigures(**batch)
        )


def _plain(value: Any) -> Any:
    """A number of Python."""
    return value.item() if isinstance(value, np.generic) else value


def _judgements() -> Any:
    # Scores of masks without a network need no engine, which these load.
    from pydantic import TypeAdapter

    from flexseg.inference.results.prediction_table import Judgement

    return TypeAdapter(Judgement)
