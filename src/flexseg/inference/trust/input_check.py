"""Whether images are of the kind that a network was trained on; it is told, and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.models.home_images import HomeImages, image_figures

logger = logging.getLogger(__name__)


@cache  # once for each model
def tell_unknown(model: str) -> None:
    """Say that a package cannot tell."""
    logger.info(
        "%s does not say what its training's images look like, so that images of another kind are "
        "not noticed; models that are trained anew do.",
        model,
    )


def strangeness(
    homes: Sequence[HomeImages | None], figures: Sequence[NDArray[np.float64]]
) -> float | None:
    """How unlike the training an image, or a stack of slices, is: above 1 it is foreign.

    Of several networks the one counts that knows such images best. None where none of them says
    what it was trained on, or the figures are of other channels.
    """
    found = [
        home.strangeness(figures)
        for home in homes
        if home is not None and figures and len(figures[0]) == len(home.centre)
    ]
    return min(found, default=None)


def strangeness_of(homes: Sequence[HomeImages | None], prepared: NDArray) -> float | None:
    """`strangeness` of one image [h, w, C], as the network takes it."""
    known = any(home is not None for home in homes)
    return strangeness(homes, [image_figures(prepared)]) if known else None


def warn_of_foreign(values: dict[str, float | None], what: str) -> None:
    """Name the images that are foreign.

    Parameters
    ----------
    values : name -> strangeness.
    what : they are, e.g. "image(s)".
    """
    foreign = [name for name, value in values.items() if value is not None and value > 1]
    if foreign:
        logger.warning(
            "%d of %d %s look unlike those of the training (colours, brightness, contrast, "
            "sharpness or noise), and what is predicted of them may be wrong: %s.",
            len(foreign),
            len(values),
            what,
            examples(foreign),
        )
