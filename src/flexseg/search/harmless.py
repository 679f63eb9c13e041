"""Flips that a search may switch on."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.quality.orientation import FLIPS, orientation_of
from flexseg.search.space import Parameter, override

logger = logging.getLogger(__name__)


def harmless_overrides(
    loaded: LoadedConfig, parameters: Sequence[Parameter], cases: Sequence[Case]
) -> list[str]:
    """Texts for `config.load.load` by which trials leave out flips that are not harmless.

    They say so only where a search switches `[augmentation]` on, whose defaults flip and turn
    images in all ways; what the config says itself stays.

    Parameters
    ----------
    cases : for training.
    """
    searched = {p.name for p in parameters}
    if not searched & {"augmentation.enabled", *(f"augmentation.{flip}" for flip in FLIPS)}:
        return []
    orientation = orientation_of(LabelMap.from_config(loaded.experiment.class_sections), cases)
    result = []
    for flip, judged in orientation.flips.items():
        name = f"augmentation.{flip}"
        if judged.harmless:
            continue
        if name in searched:
            logger.warning("The search varies %s, but %s.", name, judged.reason)
        elif name not in loaded.sources:
            logger.info("Trials leave out %s: %s.", name, judged.reason)
            result.append(override(name, 0.0))
    if result and "augmentation.rotation_degrees" not in {*loaded.sources, *searched}:
        result.append(override("augmentation.rotation_degrees", orientation.degrees))
    return result
