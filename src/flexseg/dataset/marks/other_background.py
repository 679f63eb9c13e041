"""Masks whose background is not black, as their table of labels says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelClass, Rgb
from flexseg.dataset.looks import MaskLook
from flexseg.dataset.marks.label_tables import LabelTable, other_background_error

BLACK: Rgb = (0, 0, 0)
# By how much compression changes a colour.
_NEAR_LOSSY = 40


def other_background(masks: Sequence[MaskLook], table: LabelTable) -> Rgb | None:
    """The colour that a table calls background, if it is not black and masks show it.

    Where it is the first colour of a palette, the index 0 already says so.

    Raises
    ------
    DataError : compressed masks show it.
    """
    color = table.background
    if color is None or color == BLACK:
        return None
    shown = [mask for mask in masks if _shows(mask, color)]
    if any(mask.entries.lossy for mask in shown):
        raise other_background_error(table)
    return color if shown else None


def _shows(mask: MaskLook, color: Rgb) -> bool:
    if mask.entries.one_hot:
        return False
    near = _NEAR_LOSSY if mask.entries.lossy else 0
    hit = (np.abs(_rgb(mask) - np.array(color)) <= near).all(axis=-1)
    if mask.entries.palette is not None:
        hit &= mask.entries.pixels[0] != 0
    return bool(hit.any())


def _rgb(mask: MaskLook) -> NDArray[np.int64]:
    """The colours of the entries, [n, 3]."""
    pixels, palette = mask.entries.pixels[0], mask.entries.palette
    if palette is not None:
        pixels = palette[np.minimum(pixels, len(palette) - 1)]
    elif pixels.ndim == 1:
        pixels = np.repeat(pixels[:, None], 3, axis=1)
    return pixels.astype(np.int64)


def exchanged_color(rgb: Rgb, color: Rgb) -> Rgb:
    """A colour where `color` and black have changed places."""
    return {color: BLACK, BLACK: color}.get(rgb, rgb)


def with_black_background(mask: MaskLook, color: Rgb) -> MaskLook:
    """A mask in colours where `color` and black have changed places."""
    rgb = _rgb(mask)
    background, black = ((rgb == np.array(own)).all(axis=-1) for own in (color, BLACK))
    rgb[background] = BLACK
    rgb[black] = color
    entries = replace(
        mask.entries, pixels=np.clip(rgb, 0, 255).astype(np.uint8)[None], palette=None
    )
    return replace(mask, entries=entries)


def in_own_colors(c: LabelClass, color: Rgb) -> LabelClass:
    """A class of masks that `with_black_background` gave, as the masks themselves show it."""
    if not c.values:
        return replace(c, colors=tuple(exchanged_color(rgb, color) for rgb in c.colors))
    values = tuple(exchanged_color((v, v, v), color)[0] for v in c.values)
    return replace(c, values=values)
