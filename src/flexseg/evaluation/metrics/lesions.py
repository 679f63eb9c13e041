"""Objects found, missed and invented: scores that count lesions instead of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flexseg.evaluation.aggregate import rounded
from flexseg.evaluation.json_values import Json, count, mapping, number, sequence
from flexseg.evaluation.metrics.counts import ratio
from flexseg.evaluation.metrics.masks import MaskPair
from flexseg.evaluation.metrics.metric import UNDEFINED, Metric, register


@dataclass(frozen=True)
class Lesions:
    """The connected components of one class in one case.

    Attributes
    ----------
    sizes : pixels of each reference lesion.
    found : whether each of them was found.
    predicted : number of predicted lesions.
    false : number of predicted lesions that lie on no reference lesion.
    """

    sizes: NDArray[np.int64]
    found: NDArray[np.bool_]
    predicted: int
    false: int

    @property
    def reference(self) -> int:
        """Lesions of the reference."""
        return len(self.sizes)

    @property
    def hits(self) -> int:
        """Reference lesions that were found."""
        return int(self.found.sum())

    @property
    def precision(self) -> float:
        """Predicted lesions that lie on a reference lesion / predicted; NaN without any."""
        return ratio(self.predicted - self.false, self.predicted)

    @property
    def recall(self) -> float:
        """Found / reference lesions; NaN without any."""
        return ratio(self.hits, self.reference)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if one side has no lesions at all, NaN if
        both have none."""
        if not self.reference or not self.predicted:
            return float("nan") if self.reference == self.predicted else 0.0
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def find_lesions(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> Lesions:
    """Compare the connected components of two masks [H, W] or [D, H, W].

    Pixels that touch in a side, edge or corner are connected (8 neighbours in 2-D, 26 in 3-D).
    A reference lesion is found if at least one of its pixels is predicted, and a predicted
    lesion is right if it shares at least one pixel with the reference: "Mask IoU > 0" of
    Metrics Reloaded (Maier-Hein et al. 2024), as ISLES 2022 counts. One predicted lesion may
    find several; how well they are delineated is what Dice and the distances tell.
    """
    structure = ndimage.generate_binary_structure(reference.ndim, reference.ndim)
    labels_r, count_r = ndimage.label(reference, structure)
    labels_p, count_p = ndimage.label(prediction, structure)
    common = reference & prediction
    found = np.bincount(labels_r[common], minlength=count_r + 1)[1:] > 0
    right = np.bincount(labels_p[common], minlength=count_p + 1)[1:] > 0
    sizes = np.bincount(labels_r[reference], minlength=count_r + 1)[1:]
    return Lesions(sizes, found, count_p, count_p - int(right.sum()))


def lesions_of(pair: MaskPair) -> Lesions:
    """The lesions of two masks, for all that count them."""
    return pair.shared(_of_pair)


def _of_pair(pair: MaskPair) -> Lesions:
    return find_lesions(*pair.cropped)


@dataclass(frozen=True)
class SizeBin:
    """Lesions of the reference from `from_px` up to `to_px` (None: no limit) pixels."""

    from_px: int
    to_px: int | None
    reference: int
    found: int


@dataclass(frozen=True)
class LesionTotals:
    """The lesions of a class in all cases together.

    Attributes
    ----------
    reference, predicted : how many there are.
    false_per_case : None without cases.
    """

    reference: int
    predicted: int
    found: int
    missed: int
    false: int
    false_per_case: float | None
    by_size: list[SizeBin] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entry: Json) -> LesionTotals:
        """Of a summary of any version."""
        return cls(
            reference=count(entry.get("reference")),
            predicted=count(entry.get("predicted")),
            found=count(entry.get("found")),
            missed=count(entry.get("missed")),
            false=count(entry.get("false")),
            false_per_case=number(entry.get("false_per_case")),
            by_size=[
                SizeBin(
                    count(one.get("from_px")),
                    None if one.get("to_px") is None else count(one["to_px"]),
                    count(one.get("reference")),
                    count(one.get("found")),
                )
                for one in map(mapping, sequence(entry.get("by_size")))
            ],
        )


def totals(cases: Sequence[Lesions], bounds: Iterable[int]) -> LesionTotals:
    """The lesions of all cases together, also by size.

    Parameters
    ----------
    bounds : pixels at which a new size class begins, ascending; the first class begins at 1.
    """
    sizes = np.concatenate([case.sizes for case in cases]) if cases else np.zeros(0, np.int64)
    found = np.concatenate([case.found for case in cases]) if cases else np.zeros(0, bool)
    false = sum(case.false for case in cases)
    starts = [1, *(bound for bound in bounds if bound > 1)]
    by_size = []
    for i, start in enumerate(starts):
        end = starts[i + 1] - 1 if i + 1 < len(starts) else None
        inside = (sizes >= start) & ((sizes <= end) if end is not None else True)
        by_size.append(SizeBin(start, end, int(inside.sum()), int((inside & found).sum())))
    return LesionTotals(
        reference=len(sizes),
        predicted=sum(case.predicted for case in cases),
        found=int(found.sum()),
        missed=len(sizes) - int(found.sum()),
        false=false,
        false_per_case=rounded(false / len(cases)) if cases else None,
        by_size=by_size,
    )


def lesion_precision(pair: MaskPair) -> float:
    """Predicted that are not false / predicted."""
    return lesions_of(pair).precision


def lesion_recall(pair: MaskPair) -> float:
    """Found / reference."""
    return lesions_of(pair).recall


def lesion_f1(pair: MaskPair) -> float:
    """Harmonic mean of both."""
    return lesions_of(pair).f1


register(
    Metric(
        "lesion_precision",
        "Objects right",
        family="objects",
        unit="share",
        better="higher",
        meaning="Share of the predicted connected objects that hit one.",
        from_masks=lesion_precision,
        missed=UNDEFINED,
        false_positive=0.0,
        missed_in_mean=0.0,
    )
)
register(
    Metric(
        "lesion_recall",
        "Objects found",
        family="objects",
        unit="share",
        better="higher",
        meaning="Share of the connected objects (lesions) of the reference that were hit.",
        from_masks=lesion_recall,
        missed=0.0,
    )
)
register(
    Metric(
        "lesion_f1",
        "Object F1",
        family="objects",
        unit="share",
        better="higher",
        meaning="Harmonic mean of objects found and objects right.",
        from_masks=lesion_f1,
        missed=0.0,
        false_positive=0.0,
    )
)
