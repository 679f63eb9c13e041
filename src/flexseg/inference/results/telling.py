"""How far predictions can be trusted, in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from flexseg.config.findings import amount, examples
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.prediction_table import Judgement
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.trust.conformal import FEWEST
from flexseg.inference.trust.input_check import tell_unknown, warn_of_foreign

logger = logging.getLogger(__name__)


def tell(
    predictor: Predictor | TiledPredictor,
    judged: Mapping[str, Judgement],
    what: str,
    dimensions: int,
) -> None:
    """Name what looks unlike the training, and what is probably wrong.

    Parameters
    ----------
    judged : file -> what is known of it.
    what : they are, e.g. "image".
    dimensions : of their labels.
    """
    if not judged:
        return
    if not any(home is not None for home in predictor.homes):
        tell_unknown(predictor.package.config.model)
    warn_of_foreign({name: one.input for name, one in judged.items()}, what)
    known = predictor.trust.quality.get(dimensions, {})
    if not known:
        return
    few = {c.name: known[c.id].cases for c in predictor.package.labels.foreground
           if c.id in known and known[c.id].radius is None}  # fmt: skip
    if few:
        logger.info(
            "The expected Dice has no interval for %s: that needs %d validation cases in which "
            "the class is predicted.",
            ", ".join(f"{name} ({amount(count, 'case')})" for name, count in few.items()),
            FEWEST,
        )
    flags = [one.flag for one in judged.values()]
    red = [name for name, flag in zip(judged, flags, strict=True) if flag == "red"]
    counts = ", ".join(f"{flags.count(flag)} {flag}" for flag in ("green", "yellow", "red"))
    logger.info("Expected quality of %s: %s.", amount(len(judged), what), counts)
    if red:
        logger.warning(
            "A Dice below 0.5 or a missed class is expected for %d of %s: %s.",
            len(red),
            amount(len(judged), what),
            examples(red),
        )
