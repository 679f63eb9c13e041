"""Predict an image by overlapping windows, as the network has seen parts of images in training."""

from collections.abc import Callable

import numpy as np


def begins(length: int, window: int, overlap: int) -> list:
    """Where windows begin that cover an image; the last one ends with it."""
    if length <= window:
        return [0]
    return [*range(0, length - window, window - overlap), length - window]


def shares(starts: list, window: int, overlap: int) -> list:
    """The share of each window in its pixels, which falls from its middle to its edge."""
    shared = min(overlap, window / 2)
    variance = max((window - shared) * shared / 24, (window / 40) ** 2)
    distance = np.arange(window) - (window - 1) / 2
    outside = np.exp(-(((window + 1) / 2) ** 2) / (2 * variance))
    weight = np.exp(-(distance**2) / (2 * variance)) - outside
    total = np.zeros(starts[-1] + window)
    for start in starts:
        total[start : start + window] += weight
    return [(weight / total[start : start + window]).astype(np.float32) for start in starts]


def probabilities(predict: Callable, image: np.ndarray, windows: dict) -> np.ndarray:
    """Probabilities [H, W, classes] of an image [H, W, C].

    predict: windows [N, h, w, C] to probabilities [N, h, w, classes]; windows: their "height",
    "width" and "overlap" in pixels. What a smaller image lacks is mirrored.
    """
    height, width = image.shape[:2]
    high, wide, overlap = windows["height"], windows["width"], windows["overlap"]
    top, left = max(0, high - height) // 2, max(0, wide - width) // 2
    below, right = max(0, high - height) - top, max(0, wide - width) - left
    if top or left or below or right:
        image = np.pad(image, ((top, below), (left, right), (0, 0)), mode="reflect")
    rows, columns = begins(height, high, overlap), begins(width, wide, overlap)
    down, across = shares(rows, high, overlap), shares(columns, wide, overlap)
    total = np.zeros((*image.shape[:2], 1), np.float32)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            part = np.s_[row : row + high, column : column + wide]
            p = predict(image[part][None])[0]
            if total.shape[2] != p.shape[2]:
                total = np.repeat(total, p.shape[2], axis=2)
            total[part] += p * (down[i][:, None] * across[j])[..., None]
    return total[top : top + height, left : left + width]
