"""The images by which the ranges of a network in 8-bit integers are set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.batch_plan import Samples

# So many suffice.
IMAGES = 100


def prepared(shown: Samples, index: int) -> NDArray[np.float32]:
    """An image [1, h, w, C] as the network takes it."""
    ((image, _),) = shown.samples([index], 0, index)
    return image.astype(np.float32)[None]


def calibration_images(shown: Samples) -> Iterator[NDArray[np.float32]]:
    """Prepared images [1, h, w, C] from all over a training set."""
    count = len(shown.cases)
    step = max(1, count // IMAGES)
    for index in range(0, count, step)[:IMAGES]:
        yield prepared(shown, index)
