"""Masks of what is ignored, or of what counts, that lie in folders of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import DataError
from flexseg.files.images import MaskPixels, read_mask

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
    found = marks.shape
    if found == size:
        return marks > 0
    if not 0.98 < (found[0] / found[1]) / (size[0] / size[1]) < 1.02:
        raise DataError(
            f"It is {found[1]} x {found[0]} pixels, the mask of the same image {size[1]} x "
            f"{size[0]}.",
            "Export it at its image's size; one of them may be rotated or cropped.",
            str(path),
        )
    return cv2.resize(marks, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
