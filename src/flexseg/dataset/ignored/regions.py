"""Masks of what is ignored, or of what counts, that lie in folders of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.files.images import MaskPixels, read_mask
from flexseg.files.resizing import fitted_mask

_MARKED = LabelMap(
    (LabelClass(0, "", ((0, 0, 0),)), LabelClass(1, "", ((255, 255, 255),))),
    binary=True,
    explicit=False,
)


def with_ignored(mask: MaskPixels, ignore: Path | None, roi: Path | None) -> MaskPixels:
    """A mask that also knows what is ignored.

    Parameters
    ----------
    ignore : a mask of what is ignored; what is not black there is marked, as in masks of one class.
    roi : a mask of what counts.

    Raises
    ------
    DataError : one cannot be read, or has another shape than the mask.
    """
    if ignore is None and roi is None:
        return mask
    size = (mask.pixels.shape[0], mask.pixels.shape[1])
    ignored = np.zeros(size, bool)
    if ignore is not None:
        ignored |= _marked(ignore, size)
    if roi is not None:
        ignored |= ~_marked(roi, size)
    return replace(mask, ignored=ignored)


def _marked(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    marks = _MARKED.encode(read_mask(path), str(path)).labels
    return fitted_mask(marks, size, path) > 0
