"""Pixels by OpenCV, which keeps 16 bits of each colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def opencv_pixels(content: bytes) -> NDArray:
    """The pixels of an encoded image as stored, [H, W] or [H, W, C] in RGB (A) order.

    Raises
    ------
    ValueError : OpenCV cannot decode it.
    """
    # Not cv2.imread, which cannot open paths with non-ASCII letters on Windows.
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        order = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        return cv2.cvtColor(pixels, order)
    return pixels
