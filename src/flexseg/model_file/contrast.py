"""Contrast of what a network standardises: nothing is stretched further than in its training.

A network that brings each input to variance 1 (`models.layers.Standardize`) stretches an input
without any object until its noise has the contrast of objects, and may find some in it. Where
images are seen by windows, such inputs come from images that are full of objects elsewhere.

The network itself stays as it is, in every engine. It divides by the root of variance +
`EPSILON`, so the host chooses what the variance counts as by the scale of what it gives: x / s is
divided as x is where `EPSILON` is s^2 times as large.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

# What a network adds to the variance that it divides by.
EPSILON = 1e-6
# Of what a training shows, the share that may have less contrast than its least.
_RARE = 0.05


def deviations(image: NDArray, count: int) -> NDArray[np.float32]:
    """Standard deviations [count] of an image [h, w, C]: of each channel, or one of all values."""
    return np.asarray(image.reshape(-1, count).std(axis=0, dtype=np.float64), np.float32)


def least_contrast(shown: Iterable[NDArray], count: int) -> tuple[float, ...]:
    """The deviations [count] that hardly any of the prepared images [h, w, C] is below."""
    found = [deviations(image, count) for image in shown]
    return tuple(float(value) for value in np.quantile(found, _RARE, axis=0))


def with_contrast(batch: NDArray, least: Sequence[float] | NDArray) -> NDArray:
    """Images [B, h, w, C] that a network standardises as if their deviations were `least` or more.

    A batch of which none is below is returned as it is.

    Parameters
    ----------
    least : one number where the network standardises all values of an image together, else one
        for each channel.
    """
    axes = (1, 2, 3) if len(least) == 1 else (1, 2)
    variance = batch.var(axis=axes, keepdims=True, dtype=np.float64)
    missing = np.square(np.asarray(least, np.float64)) - variance
    below = missing > 0
    if not below.any():
        return batch
    scale = np.sqrt(EPSILON / np.where(below, missing, EPSILON))
    # Beside a large mean, engines that round to fewer bits would leave little of the rest.
    centred = batch - batch.mean(axis=axes, keepdims=True, dtype=np.float64)
    return np.where(below, centred * scale, batch).astype(np.float32)
