"""Temperature scaling of probabilities (Guo et al.: On calibration of modern networks, 2017).

A temperature above 1 makes probabilities less sure, below 1 surer. It never changes labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

_TINY = 1e-7
_LOWEST, _HIGHEST = 0.2, 10.0


def scaled(p: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities [..., classes], or of one class [..., 1], at a temperature."""
    if temperature == 1:
        return p
    power = np.float32(1 / temperature)
    raised = np.power(np.maximum(p, np.float32(_TINY)), power)
    if p.shape[-1] == 1:
        others = np.power(np.maximum(1 - p, np.float32(_TINY)), power)
        return np.asarray(raised / (raised + others), np.float32)
    raised /= raised.sum(axis=-1, keepdims=True)
    return raised


def scaled_planes(p: NDArray, temperature: float) -> NDArray[np.float32]:
    """`scaled` of a volume [z, y, x, classes] of any type, with the memory of one plane."""
    array = np.array(p, np.float32)
    for plane in array:
        plane[:] = scaled(plane, temperature)
    return array


def best_temperature(p: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """The temperature at which probabilities [pixels, classes] fit the true class ids best.

    That is the one with the least mean negative log-likelihood; 1 without pixels.
    """
    if not len(p):
        return 1.0
    both = np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p
    logs = np.log(np.maximum(both.astype(np.float64), _TINY))
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        z = logs / np.exp(log_temperature)
        return float((np.log(np.exp(z).sum(axis=-1)) - z[rows, truth]).mean())

    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
