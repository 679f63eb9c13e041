"""Masks that cannot be right as a whole: all or nothing is marked, or they are photographs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import Case, case_mask
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import MaskLook, look_at_mask
from flexseg.dataset.marks.values import are_shares
from flexseg.errors import DataError

# Of so many values in a mask, most have areas where it is one of classes or objects.
_MANY_VALUES = 100
_SHARE_OF_AREAS = 0.05
# So many masks tell what all are.
_JUDGED = 8
# What compression leaves of areas: so few values have such a share of the pixels.
_COMMON, _SHARE_OF_COMMON = 10, 0.3
_MASKS_WANTED = (
    "Check that the folders of images and masks are not swapped. Masks have one value or colour "
    "per class; they are not the images, nor images with marks drawn on them. Where transparency "
    "cuts out the object, paint all of it white."
)


def refuse_photographs(
    masks: Sequence[MaskLook], what: str = "masks", fix: str = _MASKS_WANTED
) -> None:
    """Refuse masks most of which are pictures: the images, or these with marks drawn on them.

    Parameters
    ----------
    what, fix : what the masks are, in words, and what to give instead.

    Raises
    ------
    DataError : they have a great many values, hardly any with an area of its own.
    """
    count = sum(map(_is_photograph, masks))
    if 2 * count <= len(masks):
        return
    raise DataError(
        f"{count} of {len(masks)} {what} {'looks' if count == 1 else 'look'} like photographs: "
        "there are very many values, and hardly any fills an area.",
        fix,
    )


def refuse_no_masks(masks: Sequence[MaskLook], labels: LabelMap) -> None:
    """Refuse photographs, and fractions of class numbers, unless a threshold splits them.

    Raises
    ------
    DataError : see `refuse_photographs` and `are_shares`.
    """
    if labels.threshold is None and labels.algorithm is None:
        are_shares(masks)
        refuse_photographs(masks)


def _is_photograph(mask: MaskLook) -> bool:
    if mask.entries.palette is not None or mask.entries.one_hot:
        return False
    values = mask.entries.pixels[0]
    if len(values) <= _MANY_VALUES:
        return False
    marked = values.reshape(len(values), -1).any(axis=1)
    pixels = int(mask.pixels[marked].sum())
    covers = 2 * pixels > int(mask.pixels.sum()) or "with transparency" in mask.entries.mode
    if not covers:
        return False
    if mask.entries.lossy:
        # Not those that stand for many rare ones.
        single = marked & (mask.core >= 0)
        return int(np.sort(mask.pixels[single])[-_COMMON:].sum()) < _SHARE_OF_COMMON * pixels
    return int(np.maximum(mask.core[marked], 0).sum()) < _SHARE_OF_AREAS * pixels


def refuse_filled(files: Sequence[Path], masks: Sequence[MaskLook], labels: LabelMap) -> None:
    """Refuse masks of which none has a pixel of background.

    Parameters
    ----------
    files : of the masks, to name one.

    Raises
    ------
    DataError : all pixels of all masks are in classes.
    """
    counts = [
        np.bincount(labels.encode(mask.entries).labels[0], mask.pixels, len(labels.classes))
        for mask in masks
    ]
    error = filled_error(files, counts, labels)
    if error is not None:
        raise error


def filled_error(
    files: Iterable[Path], counts: Iterable[Sequence[float] | NDArray], labels: LabelMap
) -> DataError | None:
    """An error that shows an example, if none of some masks has a pixel of background.

    Parameters
    ----------
    counts : pixels by class id, of each mask; masks of which nothing counts are left out.
    """
    first, number = None, 0
    for file, pixels in zip(files, counts, strict=False):
        own = pixels[: len(labels.classes)]
        if not sum(own):
            continue
        if own[0]:
            return None
        first, number = first or (file, own), number + 1
    if first is None:
        return None
    file, own = first
    largest = max(labels.foreground, key=lambda c: own[c.id])
    share = own[largest.id] / sum(own)
    how = f"the value {largest.values[0]}" if largest.values else f"the colour {largest.colors[0]}"
    likely = (
        "Probably the background is stored as a value or colour of its own, or the object is in "
        "a channel that is not read"
        if len(labels.foreground) == 1
        else "Probably the background is one of the classes"
    )
    all_of_them = f"All {number} masks are" if number > 1 else "The mask is"
    besides = f" besides what is ignored ({labels.ignored})" if labels.ignored else ""
    return DataError(
        f"{all_of_them} foreground everywhere, with no background at all{besides}: {share:.0%} of "
        f"{file.name} is class {largest.id} ({how}).",
        f"{likely}. Look at the file, and name the background by [[mask.classes]] id = 0, or by "
        "`flexseg derive folders --label VALUE=background` (--color for colours).",
        str(file.parent),
    )


def require_marks(cases: Sequence[Case], labels: LabelMap) -> None:
    """Refuse masks of which nothing can be learned.

    A few of them are judged as masks, see `refuse_no_masks`; then they are read until one shows a
    class and background.

    Raises
    ------
    DataError : none shows both, a mask cannot be read, or they are no masks.
    """
    looks = []
    for case in cases[:: max(1, len(cases) // _JUDGED)]:
        with suppress(DataError):  # told when it is learned from
            looks.append(look_at_mask(case_mask(case)))
    refuse_no_masks(looks, labels)
    _require_both(cases, labels)


def require_counted(cases: Sequence[Case], labels: LabelMap) -> None:
    """Refuse masks to validate on of which all pixels are ignored: their scores would be 0.

    Raises
    ------
    DataError : none counts, or a mask cannot be read.
    """
    if labels.ignored is None or not cases:
        return
    for case in cases:
        if labels.count(labels.encode(case_mask(case), str(case.mask)).labels).any():
            return
    raise DataError(
        f"All pixels of the validation masks ({len(cases)}) are ignored: there is nothing to "
        "score.",
        "Validate on other cases, or correct [mask] ignore.",
        str(cases[0].mask.parent),
    )


def _require_both(cases: Sequence[Case], labels: LabelMap) -> None:
    counts, files = [], []
    marked = background = False
    for case in cases:
        own = labels.count(labels.encode(case_mask(case), str(case.mask)).labels)
        counts.append(own)
        files.append(case.mask)
        marked |= bool(own[1:].any())
        background |= bool(own[0])
        if marked and background:
            return
    if counts and not marked:
        raise DataError(
            f"All training masks ({len(counts)}) are empty (background only): there is nothing "
            "to learn.",
            "The colours or values of the masks do not match the classes; `flexseg check` shows "
            "what the masks hold.",
            str(files[0].parent),
        )
    error = filled_error(files, counts, labels)
    if error is not None:
        raise error
