"""The two masks of one class in one case, as metrics see them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from flexseg.evaluation.metrics.counts import PixelCounts

T = TypeVar("T")
# Half of what both cover: the Dice of the two is 2/3, and hardly any object fits two others so.
OBJECT_IOU = 0.5


@dataclass(frozen=True)
class MaskPair:
    """Reference and prediction of one class in one case.

    Attributes
    ----------
    reference, prediction : where the class is, bool [H, W] or [D, H, W].
    counts : their pixel counts.
    spacing : size of a pixel along each axis.
    tolerance : distance up to which surfaces agree, in the unit of `spacing`.
    probability : of the class, float32, of the same shape; None for masks without.
    ignored : pixels that count in nothing; both masks are background there. None: all count.
    object_iou : from which on two objects fit, see `lesions.find_lesions`.
    """

    reference: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    counts: PixelCounts
    spacing: tuple[float, ...]
    tolerance: float
    probability: NDArray[np.float32] | None = None
    ignored: NDArray[np.bool_] | None = None
    object_iou: float = OBJECT_IOU
    _shared: dict[Callable[[MaskPair], object], object] = field(default_factory=dict, repr=False)

    @property
    def diagonal(self) -> float:
        """Length of the image's diagonal: the worst distance that there can be."""
        steps = zip(self.reference.shape, self.spacing, strict=True)
        return math.hypot(*(pixels * step for pixels, step in steps))

    @cached_property
    def cropped(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Both masks in the smallest box around them: what is outside changes no distance and no
        object. Empty if both masks are."""
        box = _bounding_box(self.reference | self.prediction)
        return self.reference[box], self.prediction[box]

    def shared(self, compute: Callable[[MaskPair], T]) -> T:
        """The result of a function of this pair, computed once for all metrics that ask for it."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return cast(T, self._shared[compute])


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0))
    return tuple(box)
