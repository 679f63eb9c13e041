"""The values and colours of pixels that count in nothing, such as the void of PASCAL VOC."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flexseg.files.images import MaskPixels

_Channel = Annotated[int, Field(ge=0, le=255)]
Rgb = tuple[_Channel, _Channel, _Channel]
# The id of pixels that count in nothing: above those of all classes.
IGNORED = 255
# As the void of PASCAL VOC is painted.
VOID = (224, 224, 192)


@dataclass(frozen=True)
class IgnoredPixels:
    """What shows in masks that a pixel counts in nothing.

    Attributes
    ----------
    values : grey or index values; in colour masks the grey of that value.
    colors : RGB.
    """

    values: tuple[int, ...] = ()
    colors: tuple[Rgb, ...] = ()

    @classmethod
    def of(cls, marks: Iterable[int | Rgb]) -> IgnoredPixels:
        """Of values and colours, as `[mask] ignore` lists them."""
        listed = list(marks)
        values = tuple(mark for mark in listed if isinstance(mark, int))
        return cls(values, tuple(mark for mark in listed if not isinstance(mark, int)))

    @property
    def marks(self) -> list[int | str]:
        """As a config lists them."""
        return [*self.values, *("#{:02x}{:02x}{:02x}".format(*rgb) for rgb in self.colors)]

    def __str__(self) -> str:
        return ", ".join(map(str, self.marks))

    @property
    def paint(self) -> Rgb:
        """The colour that such pixels are painted in."""
        return self.colors[0] if self.colors else VOID

    @property
    def all_colors(self) -> tuple[Rgb, ...]:
        """The colours, and the greys of the values."""
        return (*self.colors, *((v, v, v) for v in self.values if 0 <= v <= IGNORED))

    def where(self, mask: MaskPixels, known: Iterable[Rgb]) -> NDArray[np.bool_]:
        """The ignored pixels of a mask, [H, W].

        Parameters
        ----------
        known : the colours of the classes. Of an indexed mask the colours count where all are
            those of classes or ignored, else the indices.
        """
        pixels = mask.pixels
        if mask.one_hot:  # in no class at all
            return (pixels == 0).all(axis=-1) if 0 in self.values else _nowhere(pixels)
        if mask.palette is not None:
            return self._where_indexed(pixels, mask.palette, known)
        if pixels.ndim == 3:
            return _in_colors(pixels, self.all_colors)
        return self._where_grey(pixels)

    def _where_grey(self, values: NDArray) -> NDArray[np.bool_]:
        greys = [red for red, green, blue in self.colors if red == green == blue]
        return np.isin(values, [*self.values, *greys])

    def _where_indexed(
        self, pixels: NDArray, palette: NDArray[np.uint8], known: Iterable[Rgb]
    ) -> NDArray[np.bool_]:
        used = np.unique(pixels)
        colors = palette[np.minimum(used, len(palette) - 1)][None]
        ours = (*self.colors, self.paint)
        painted = _in_colors(colors, ours)[0]
        if not (painted | _in_colors(colors, tuple(known))[0]).all():
            written = painted & (used == IGNORED)  # by us, for classes in other colours
            painted = np.isin(used, self.values) | _in_colors(colors, self.colors)[0] | written
        return np.isin(pixels, used[painted])


def _nowhere(pixels: NDArray) -> NDArray[np.bool_]:
    return np.zeros(pixels.shape[:2], bool)


def _in_colors(rgb: NDArray[np.uint8], colors: tuple[Rgb, ...]) -> NDArray[np.bool_]:
    """Whether pixels [H, W, 3] have one of some colours."""
    found = np.zeros(rgb.shape[:2], bool)
    for color in colors:
        found |= (rgb == np.array(color, np.uint8)).all(axis=-1)
    return found
