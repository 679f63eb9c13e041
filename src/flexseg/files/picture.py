"""What a decoder makes of an image file, before anyone decides whether it is an image or a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# EXIF and TIFF orientation -> (axes are swapped, rows are reversed, columns are reversed).
_TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True)
class Picture:
    """An image as stored, turned upright.

    Attributes
    ----------
    pixels : [H, W] grey values or palette indices, or [H, W, C].
    palette : RGB colours [n, 3] uint8 of an indexed image, else None.
    opaque : [H, W], False where the image is transparent by half or more; None without
        transparency.
    colors : three channels are red, green and blue; others say nothing of what channels mean.
    lossy : the format blurs values (JPEG).
    """

    pixels: NDArray
    palette: NDArray[np.uint8] | None = None
    opaque: NDArray[np.bool_] | None = None
    colors: bool = False
    lossy: bool = False

    def resolved(self) -> NDArray:
        """[H, W] or [H, W, C], the colours of a palette in place of its indices."""
        if self.palette is None:
            return self.pixels
        if len(self.palette) <= int(self.pixels.max(initial=0)):
            raise ValueError("some pixels have no colour in its palette")
        return self.palette[self.pixels]


def turned(pixels: NDArray, orientation: object) -> NDArray:
    """Pixels [H, W, ...] as a camera's orientation tag (1 to 8) says; others mean upright."""
    swapped, rows, columns = _TURNS.get(orientation if isinstance(orientation, int) else 1,
                                        _TURNS[1])  # fmt: skip
    if swapped:
        pixels = np.swapaxes(pixels, 0, 1)
    pixels = pixels[::-1] if rows else pixels
    return np.ascontiguousarray(pixels[:, ::-1] if columns else pixels)
