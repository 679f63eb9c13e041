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
from flexseg.evaluation.metrics.masks import OBJECT_IOU, MaskPair
from flexseg.evaluation.metrics.metric import UNDEFINED, Metric, register

# Pixels across, along each axis, up to which an object is small: moved by a single pixel along
# each axis, its IoU falls below `OBJECT_IOU`.
SMALL_ACROSS = 5


@dataclass(frozen=True)
class Lesions:
    """The connected components of one class in one case.

    Attributes
    ----------
    sizes : pixels of each reference lesion.
    found : whether each of them was found.
    predicted : number of predicted lesions.
    false : number of predicted lesions that have found none.
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
        """Predicted lesions that have found one / predicted; NaN without any."""
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


def find_lesions(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], iou: float = OBJECT_IOU
) -> Lesions:
    """Compare the connected components of two masks [H, W] or [D, H, W].

    Pixels that touch in a side, edge or corner are connected (8 neighbours in 2-D, 26 in 3-D).
    Objects fit if their IoU is at least `iou`; small ones (`SMALL_ACROSS`) also if the centre of
    one lies in the other, because the IoU of few pixels says little. Each object finds one at
    most, the pairs of largest IoU first. These are the localization by mask IoU or by centre and
    the greedy assignment of Metrics Reloaded (Maier-Hein et al., Nature Methods 2024).

    Parameters
    ----------
    iou : 0 to 1. With 0 one common pixel is enough, and one predicted object may find several:
        "Mask IoU > 0", as ISLES 2022 counts.
    """
    structure = ndimage.generate_binary_structure(reference.ndim, reference.ndim)
    labels_r, count_r = ndimage.label(reference, structure)
    labels_p, count_p = ndimage.label(prediction, structure)
    sizes = np.bincount(labels_r[reference], minlength=count_r + 1)[1:]
    sizes_p = np.bincount(labels_p[prediction], minlength=count_p + 1)[1:]
    common = reference & prediction
    keys = (labels_r[common] - 1).astype(np.int64) * max(count_p, 1) + labels_p[common] - 1
    pairs, shared = np.unique(keys, return_counts=True)
    of_r, of_p = np.divmod(pairs, max(count_p, 1))
    if iou > 0:
        overlap = shared / (sizes[of_r] + sizes_p[of_p] - shared)
        fit = overlap >= iou
        small = np.maximum(sizes[of_r], sizes_p[of_p]) <= SMALL_ACROSS**reference.ndim
        for i in np.flatnonzero(small & ~fit):
            r, p = of_r[i] + 1, of_p[i] + 1
            fit[i] = _centre_in(labels_p, p, labels_r, r) or _centre_in(labels_r, r, labels_p, p)
        best_first = np.argsort(-overlap, kind="stable")
        of_r, of_p = _one_to_one(of_r, of_p, best_first[fit[best_first]])
    found, right = np.zeros(count_r, bool), np.zeros(count_p, bool)
    found[of_r] = right[of_p] = True
    return Lesions(sizes, found, count_p, count_p - int(right.sum()))


def _centre_in(
    labels: NDArray[np.int32], label: int, others: NDArray[np.int32], other: int
) -> bool:
    """Whether the pixel at an object's centre of mass belongs to another object."""
    centre = np.argwhere(labels == label).mean(axis=0)
    return bool(others[tuple(np.floor(centre + 0.5).astype(int))] == other)


def _one_to_one(
    of_r: NDArray[np.int64], of_p: NDArray[np.int64], order: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs in the given order, without those of which one object has a partner already."""
    taken_r: dict[int, int] = {}
    taken_p: set[int] = set()
    for r, p in zip(of_r[order].tolist(), of_p[order].tolist(), strict=True):
        if r not in taken_r and p not in taken_p:
            taken_r[r] = p
            taken_p.add(p)
    return np.array([*taken_r], np.int64), np.array([*taken_r.values()], np.int64)


def lesions_of(pair: MaskPair) -> Lesions:
    """The lesions of two masks, for all that count them."""
    return pair.shared(_of_pair)


def _of_pair(pair: MaskPair) -> Lesions:
    return find_lesions(*pair.cropped, pair.object_iou)


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
        meaning="Share of the predicted connected objects that match one of the reference.",
        from_masks=lesion_precision,
        missed=UNDEFINED,
        false_positive=0.0,
        missed_in_mean=0.0,
        settings=("object_iou",),
    )
)
register(
    Metric(
        "lesion_recall",
        "Objects found",
        family="objects",
        unit="share",
        better="higher",
        meaning="Share of the connected objects (lesions) of the reference that a predicted one "
        "matches.",
        from_masks=lesion_recall,
        missed=0.0,
        settings=("object_iou",),
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
        settings=("object_iou",),
    )
)
