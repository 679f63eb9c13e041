"""Whether values fit the scale of a network, from 0 to 255: one rule for all that judges them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flexseg.config.model import ModelConfig
from flexseg.dataset.acquisition import InputDoubt
from flexseg.files.preprocess import Preprocessing

# Of 0 to 255: what 12 bits in files of 16, or floats up to 1, reach at most; and by how much
# interpolation may leave the scale.
_FAINT = 16.0
_HIGHEST = 255.0
_STANDARDISED = ("standardize", "standardize_channels")


def scale_doubt(
    preprocessing: Preprocessing,
    stored: np.dtype,
    low: float,
    high: float,
    *,
    standardised: bool,
) -> InputDoubt | None:
    """Whether a network is shown next to nothing, or values far beyond its scale.

    Parameters
    ----------
    stored : type of the values in their file; 8 bits fit as they are.
    low, high : the lowest and the highest value as the network takes them, see
        `Preprocessing.on_scale`.
    standardised : the network brings each image to one scale itself.
    """
    if preprocessing.window is not None or stored.kind == "b" or stored == np.uint8:
        return None
    if low < -_FAINT or high > _HIGHEST + _FAINT:
        what = f"values from {low:.4g} to {high:.4g}, while the network takes 0 to 255"
        return InputDoubt("values", what)
    if low >= 0 and 0 < high <= _FAINT:
        what = f"values that reach {high:.3g} of the 255 that the network takes"
        seen = "" if standardised else ", so that it sees next to nothing"
        return InputDoubt("values", what + seen)
    return None


def standardises(config: ModelConfig) -> bool:
    """Whether a network brings each image to one scale itself."""
    mode = config.input_normalize
    if mode != "auto":
        return mode in _STANDARDISED
    return not _has_encoder(config)


def _has_encoder(config: ModelConfig) -> bool:
    """Whether a network is built on an encoder, by its options, which are known without Keras."""
    options = config.model_dump()
    levels_of_its_own = "filter_num" in options and options.get("backbone") is None  # TransUNet
    return "weights" in options and not levels_of_its_own


def extremes(array: NDArray) -> tuple[float, float]:
    """The lowest and the highest finite value of an array, with the memory of one plane."""
    found = []
    for plane in array:
        finite = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
        if finite.size:
            found += [float(finite.min()), float(finite.max())]
    return min(found, default=0.0), max(found, default=0.0)
