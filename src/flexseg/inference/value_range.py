"""Images whose values hardly use the scale of the network, such as floats from 0 to 1."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.models.package import ModelPackage

logger = logging.getLogger(__name__)

# Of 0 to 255: that of 12 bits in files of 16, or of floats up to 1.
_FAINT = 16.0
_STANDARDISED = ("auto", "standardize", "standardize_channels")


class FaintImages:
    """Collects the images of which a network sees next to nothing, and tells of them once.

    A network that standardises each image sees them as well as others.
    """

    def __init__(self, package: ModelPackage) -> None:
        self._matters = (
            package.preprocessing.window is None
            and package.config.input_normalize not in _STANDARDISED
        )
        self._names: list[str] = []
        self._highest = 0.0

    def see(self, name: str, stored: np.dtype, values: NDArray) -> None:
        """Judge an image.

        Parameters
        ----------
        stored : type of its pixels before they were brought to the network's scale.
        values : pixels, or some of them, on that scale: 0 to 255.
        """
        if not self._matters or stored.kind == "b" or stored == np.uint8:
            return
        highest = float(values.max())
        if 0 < highest <= _FAINT and values.min() >= 0:
            self._names.append(name)
            self._highest = max(self._highest, highest)

    def tell(self) -> None:
        """Warn, if there were any."""
        if self._names:
            logger.warning(
                "The values of %d image(s) reach %.3g of the 255 that the network takes, so that "
                "it sees next to nothing: %s. Scale them: floats from 0 to 1 times 255, 12 bits "
                "to 16 times 16.",
                len(self._names),
                self._highest,
                examples(self._names),
            )
