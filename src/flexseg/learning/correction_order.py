"""Which case to correct next: where the model is probably wrong, and unlike what was corrected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Cells of the thumbnail by which two images are compared.
_CELLS = 8
# A case without an estimate counts as one of this Dice.
_UNKNOWN = 0.5


@dataclass(frozen=True)
class Candidate:
    """A predicted case.

    Attributes
    ----------
    dice : that is expected of its worst class; None: not known.
    look : see `look_of`.
    """

    name: str
    dice: float | None
    look: NDArray[np.float32]


def look_of(image: NDArray) -> NDArray[np.float32]:
    """What an image looks like: means of 8 x 8 cells by channel, and its spread, [3 * 64 + 1].

    Parameters
    ----------
    image : [H, W], [H, W, 1] or [H, W, C] of any type; of more than 3 channels the first counts.
    """
    pixels = image if image.ndim == 3 else image[..., None]
    pixels = pixels[..., :3] if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2)
    values = pixels.astype(np.float32)
    low, high = np.percentile(values, (1, 99))
    values = np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1)
    cells = cv2.resize(values, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return np.append(cells.ravel(), values.std()).astype(np.float32)


def order(
    candidates: Sequence[Candidate], corrected: Sequence[NDArray[np.float32]]
) -> Iterator[Candidate]:
    """The candidates in the order in which to correct them, found as they are asked for.

    Each is chosen by what is expected to be wrong in it, 1 - Dice, times its distance to the
    nearest case that is corrected or chosen before (the weighted k-center of Sener & Savarese,
    ICLR 2018): ten similar failures need not all be corrected.

    Parameters
    ----------
    corrected : the looks of the cases that are corrected already.
    """
    if not candidates:
        return
    looks = np.stack([one.look for one in candidates])
    wrong = np.array([1 - (_UNKNOWN if one.dice is None else one.dice) for one in candidates])
    wrong = np.maximum(wrong, 1e-3)
    apart = np.full(len(candidates), np.inf)
    for look in corrected:
        apart = np.minimum(apart, np.linalg.norm(looks - look, axis=1))
    left = list(range(len(candidates)))
    while left:
        # Before anything is corrected only the expected errors count.
        weight = np.where(np.isinf(apart[left]), 1.0, apart[left])
        best = left.pop(int(np.argmax(wrong[left] * weight)))
        yield candidates[best]
        apart = np.minimum(apart, np.linalg.norm(looks - looks[best], axis=1))
