"""Pictures of a segmentation laid over its image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.data.labels import LabelMap


def overlay(
    rgb: NDArray[np.uint8], labels: NDArray[np.uint8], label_map: LabelMap, alpha: float
) -> NDArray[np.uint8]:
    """Class colours blended over an image, with an outline that is always opaque.

    Parameters
    ----------
    rgb : [H, W, 3].
    labels : class ids [H, W]; the background stays untouched.
    alpha : opacity of the class colours, 0 to 1.
    """
    colors = label_map.colorize(labels).astype(np.float32)
    inside = (labels > 0)[..., None]
    mixed = np.where(inside, np.rint((1 - alpha) * rgb + alpha * colors), rgb).astype(np.uint8)
    thickness = max(1, round(min(labels.shape) / 400))
    for c in label_map.foreground:
        region = (labels == c.id).astype(np.uint8)
        outlines, _ = cv2.findContours(region, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        # Thick lines reach outwards too; the part inside is kept.
        lines = cv2.drawContours(np.zeros_like(region), outlines, -1, 1, thickness)
        mixed[(lines & region) == 1] = c.colors[0]
    return mixed
