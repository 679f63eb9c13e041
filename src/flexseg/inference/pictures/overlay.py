"""Pictures of a segmentation laid over its image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelMap
from flexseg.files.display import shown_color


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
    # OpenCV mixes without intermediate floats of the whole picture, which may be large.
    mixed = cv2.addWeighted(rgb, 1 - alpha, shown_colors(label_map)[labels], alpha, 0)
    mixed = np.where((labels > 0)[..., None], mixed, rgb)
    width = max(1, round(min(labels.shape) / 800))
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    for c in label_map.foreground:
        region = (labels == c.id).astype(np.uint8)
        inner = cv2.erode(region, around, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        mixed[region > inner] = shown_color(c.colors[0], c.id)
    return mixed


def shown_colors(label_map: LabelMap) -> NDArray[np.uint8]:
    """As `LabelMap.id_colors`, but of foreground classes the `shown_color`."""
    colors = label_map.id_colors.copy()
    for c in label_map.foreground:
        colors[c.id] = shown_color(c.colors[0], c.id)
    return colors
