"""Masks whose background is not black, or not 0, as their table of labels or palette says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelClass, Rgb
from flexseg.dataset.looks import MaskLook
from flexseg.dataset.marks.class_names import renumbered
from flexseg.dataset.marks.label_tables import LabelTable, other_background_error
from flexseg.dataset.marks.values import MaskValues, agreed_palette

BLACK: Rgb = (0, 0, 0)
# By how much compression changes a colour.
_NEAR_LOSSY = 40


def other_background(masks: Sequence[MaskLook], table: LabelTable) -> Rgb | int | None:
    """The colour or value that a table calls background, if it is not black or 0.

    Colours, and the places of names in a list, count only where masks show them. Where the colour
    is the first of a palette, the index 0 already says so.

    Raises
    ------
    DataError : compressed masks show it.
    """
    mark = table.background
    if isinstance(mark, int):
        return mark if _counts(mark, masks, table) else None
    if mark is None or mark == BLACK:
        return None
    shown = [mask for mask in masks if _shows(mask, mark)]
    if any(mask.entries.lossy for mask in shown):
        raise other_background_error(table)
    return mark if shown else None


def black_index(masks: Sequence[MaskLook]) -> int | None:
    """The index of black, where the palette of several classes has a colour at 0.

    None where an index may be a shade of an edge, and where one class is marked: masks in grey
    have that as 1 or 255.
    """
    palette = agreed_palette(masks)
    if palette is None or any(mask.entries.palette is None for mask in masks):
        return None
    black = [index for index, color in palette.items() if color == BLACK]
    if len(black) != 1 or black == [0]:
        return None
    used = {index for mask in masks for index in mask.entries.pixels[0].tolist()} - {*black}
    return black[0] if 1 < len(used) == len(MaskValues.of(masks).solid()[0]) else None


def _counts(value: int, masks: Sequence[MaskLook], table: LabelTable) -> bool:
    """Whether a value other than 0 is the background of masks.

    Raises
    ------
    DataError : some of them are compressed.
    """
    if not value or any(m.entries.one_hot or m.entries.pixels.ndim == 3 for m in masks):
        return False
    used = {v for mask in masks for v in np.rint(mask.entries.pixels[0]).astype(int).tolist()}
    if table.listed and not (value in used and max(used) < len(table.listed)):
        return False
    if any(mask.entries.lossy for mask in masks):
        raise other_background_error(table)
    return True


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


def exchanged_table(table: LabelTable, mark: Rgb | int) -> LabelTable:
    """A table where the mark of the background and black, or 0, have changed places."""
    if isinstance(mark, int):
        values = {_exchanged_value(v, mark): name for v, name in table.numbered.items()}
        return replace(table, values=values, listed=())
    colors = [(_exchanged_color(rgb, mark), name) for rgb, name in table.colors]
    return replace(table, colors=colors)


def with_usual_background(mask: MaskLook, mark: Rgb | int) -> MaskLook:
    """A mask where the mark of the background and black, or 0, have changed places."""
    if isinstance(mark, int):
        return _with_zero(mask, mark)
    rgb = _rgb(mask)
    background, black = ((rgb == np.array(own)).all(axis=-1) for own in (mark, BLACK))
    rgb[background] = BLACK
    rgb[black] = mark
    entries = replace(
        mask.entries, pixels=np.clip(rgb, 0, 255).astype(np.uint8)[None], palette=None
    )
    return replace(mask, entries=entries)


def _with_zero(mask: MaskLook, value: int) -> MaskLook:
    pixels, palette = mask.entries.pixels.copy(), mask.entries.palette
    background, zero = pixels == value, pixels == 0
    pixels[background], pixels[zero] = 0, value
    if palette is not None and value < len(palette):
        palette = palette.copy()
        palette[value], palette[0] = palette[0], 0
    return replace(mask, entries=replace(mask.entries, pixels=pixels, palette=palette))


def in_own_marks(classes: Sequence[LabelClass], mark: Rgb | int) -> tuple[LabelClass, ...]:
    """Classes of masks that `with_usual_background` gave, as the masks themselves show them."""
    own = [_in_own_marks(c, mark) for c in classes]
    if all(c.values for c in own):
        own.sort(key=lambda c: c.values)
    return renumbered(own)


def _in_own_marks(c: LabelClass, mark: Rgb | int) -> LabelClass:
    if not c.values and not isinstance(mark, int):
        return replace(c, colors=tuple(_exchanged_color(rgb, mark) for rgb in c.colors))
    value = mark if isinstance(mark, int) else mark[0]
    return replace(c, values=tuple(_exchanged_value(v, value) for v in c.values))


def background_class(mark: Rgb | int, classes: Sequence[LabelClass]) -> LabelClass:
    """The background of masks whose other classes are known."""
    if isinstance(mark, int):
        return LabelClass(0, "background", (BLACK,), (mark,))
    values = (mark[0],) if any(c.values for c in classes) else ()
    return LabelClass(0, "background", (mark,), values)


def _exchanged_color(rgb: Rgb, color: Rgb) -> Rgb:
    return {color: BLACK, BLACK: color}.get(rgb, rgb)


def _exchanged_value(own: int, value: int) -> int:
    return {value: 0, 0: value}.get(own, own)
