"""Pairs as augmentation outside of a training sees them: colours and types as stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.patches import cut
from flexseg.batches.store import CaseReader
from flexseg.dataset.cases import Case


@dataclass(frozen=True)
class ScaledPair:
    """A pair at the network's size on the scale that transforms work on.

    Attributes
    ----------
    image : [H, W, C] grey or RGB, uint8, or float32 in 0..255 (after `[image] window`).
    labels : class ids [H, W].
    dtype : type of the image as stored.
    window : what became 0..255.
    """

    image: NDArray
    labels: NDArray[np.uint8]
    dtype: np.dtype
    window: tuple[float, float] | None

    def stored(self, image: NDArray) -> NDArray:
        """An image on the scale of this one, in type and values as its source is stored."""
        if image.dtype == np.uint8:
            return image
        if self.window is not None:
            low, high = self.window
            image = image * ((high - low) / 255) + low
        elif np.issubdtype(self.dtype, np.unsignedinteger):
            image = image * (np.iinfo(self.dtype).max / 255)
        if np.issubdtype(self.dtype, np.integer):
            limits = np.iinfo(self.dtype)
            image = np.clip(np.rint(image), limits.min, limits.max)
        return image.astype(self.dtype)


def read_scaled(reader: CaseReader, case: Case) -> ScaledPair:
    """A case at the network's size, colours as stored; where that sees patches, the middle one.

    Raises
    ------
    DataError : it cannot be read, or is nothing for the network.
    """
    pixels, labels = reader.native(case)
    p = reader.preprocessing
    p.image(pixels[:2, :2], str(case.image))  # a corner tells whether the channels fit
    plain = replace(
        p,
        channels=pixels.shape[2],
        color_order="RGB",
        color_converter=None,
        gamma=0,
        sharpening=0,
    )
    values = plain.values(pixels, str(case.image))
    if p.patch is None:
        image, seen = plain.at_size(values), p.labels(labels)
    else:
        top, left = (max(0, n - side) // 2 for n, side in zip(labels.shape, p.patch, strict=True))
        image, seen = cut((values, labels), top, left, plain)
    return ScaledPair(image, seen, pixels.dtype, p.window)
