"""Pictures of a segmentation laid over its image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.data.labels import LabelMap


def displayable(pixels: NDArray) -> NDArray[np.uint8]:
    """Pixels [H, W, C] of any type as RGB uint8 [H, W, 3] for the eye.

    Everything but 8-bit images is stretched from its 0.5th to its 99.5th percentile.
    """
    shown = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., :1]
    if shown.dtype != np.uint8:
        low, high = np.percentile(shown, (0.5, 99.5))
        scaled = (shown.astype(np.float32) - low) * (255.0 / max(float(high - low), 1e-6))
        shown = np.clip(scaled, 0, 255).astype(np.uint8)
    return np.repeat(shown, 3, axis=-1) if shown.shape[-1] == 1 else np.ascontiguousarray(shown)


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
    mixed = np.where(inside, (1 - alpha) * rgb + alpha * colors, rgb).astype(np.uint8)
    thickness = max(1, round(min(labels.shape) / 400))
    for c in label_map.foreground:
        region = (labels == c.id).astype(np.uint8)
        outlines, _ = cv2.findContours(region, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(mixed, outlines, -1, c.colors[0], thickness)
    return mixed
