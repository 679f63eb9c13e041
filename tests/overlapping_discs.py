"""Objects that overlap more or less, for the rules of which ones are found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def discs(seed: int) -> NDArray[np.bool_]:
    """Discs of more than 25 pixels and as many moved ones, some lost, some more; [2, 200, 200]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:200, :200]
    masks = np.zeros((2, 200, 200), bool)
    for i in range(30):
        (y, x), radius = rng.uniform(10, 190, 2), rng.uniform(3.5, 12)
        moved = rng.uniform(-5, 5, 2)
        if i % 6:
            masks[0] |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        if i % 5:
            y, x = y + moved[0], x + moved[1]
            masks[1] |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return masks
