"""Whether inputs are of the kind that a network was trained on; it is told, and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount, examples
from flexseg.dataset.acquisition import Acquired
from flexseg.inference.trust.checked_input import InputCheck
from flexseg.inference.value_range import scale_doubt, standardises
from flexseg.model_file.home_images import HomeImages, image_figures
from flexseg.model_file.model_description import ModelDescription

logger = logging.getLogger(__name__)

_ADVICE = {
    "values": "Bring them to the scale of the training: multiply floats from 0 to 1 by 255, and "
    "12 bits in 16-bit files by 16; or divide 12 bits by 16.",
    "size": "Objects may appear at another scale than in training.",
    "spacing": "Objects may appear at another scale than in training.",
    "modality": "The network has never seen such images.",
}


@cache  # once for each model
def tell_unknown(model: str) -> None:
    """Say that a package cannot tell."""
    logger.info(
        "%s does not say what its training images looked like, so that unusual images are not "
        "noticed; packages (best_model.h5) of newly trained models do.",
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


def check_input(
    packages: Sequence[ModelDescription],
    strange: float | None,
    acquired: Acquired,
    stored: np.dtype,
    limits: tuple[float, float],
) -> InputCheck:
    """All that is known of an input.

    Parameters
    ----------
    packages : of the networks that see it; of several the one counts that doubts least.
    strange : see `strangeness`.
    stored : type of its values.
    limits : the lowest and the highest value on the network's scale.
    """
    known = [p.acquisition.doubts(acquired) for p in packages if p.acquisition is not None]
    doubts = min(known, key=len, default=())
    # Of values that the training had as well nothing is said, nor where scaling makes up for them.
    first = packages[0]
    standardised = standardises(first.config)
    if (not standardised) if strange is None else strange > 1:
        odd = scale_doubt(first.preprocessing, stored, *limits, standardised=standardised)
        doubts = (*((odd,) if odd else ()), *doubts)
    return InputCheck(strange, doubts)


def warn_of_foreign(checks: Mapping[str, InputCheck], what: str) -> None:
    """Name the inputs that are of another kind, and in what.

    Parameters
    ----------
    checks : name -> what is known of it.
    what : they are, e.g. "image".
    """
    if unlike := [name for name, check in checks.items() if check.unlike]:
        logger.warning(
            "%d of %s %s unlike those of the training (colours, brightness, contrast, sharpness "
            "or noise), so that predictions may be wrong: %s.",
            len(unlike),
            amount(len(checks), what),
            "looks" if len(unlike) == 1 else "look",
            examples(unlike),
        )
    for kind, advice in _ADVICE.items():
        found = {
            name: doubt.what
            for name, check in checks.items()
            for doubt in check.doubts
            if doubt.kind == kind
        }
        if found:
            logger.warning(
                "%d of %s %s %s: %s. %s",
                len(found),
                amount(len(checks), what),
                "has" if len(found) == 1 else "have",
                next(iter(found.values())),
                examples([*found]),
                advice,
            )
