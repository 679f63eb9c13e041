"""Evaluation of the trained model of a config."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from flexseg.config.load import LoadedConfig
from flexseg.data.splits import find_splits
from flexseg.data.store import CaseReader
from flexseg.evaluation.evaluate import evaluate_model, write_evaluation, write_legacy_csv
from flexseg.inference.run import make_predictor
from flexseg.losses import get_loss, get_metric, weighted_mean


def evaluate(
    loaded: LoadedConfig, folder: Path, on_case: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Score the trained model on the split that `[model] evaluation` names.

    Writes `evaluation.csv` (the original systems' figures) beside `folder`, and the tables
    into it. Returns the summary.
    """
    e = loaded.experiment
    splits = find_splits(e, only=(e.model.evaluation,))
    splits.raise_errors()
    cases = splits.need(e.model.evaluation)
    predictor = make_predictor(loaded)
    package = predictor.package
    channels = package.labels.channels
    loss = "loss" if package.labels.binary else e.model.loss
    figures = {loss: partial(weighted_mean, get_loss(e.model.loss, channels))}
    for name in e.model.metrics if package.labels.binary else e.model.metrics[:1]:
        figures[name] = partial(weighted_mean, get_metric(name, channels))
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    scores = evaluate_model(predictor, cases, reader, figures, on_case)
    write_legacy_csv(folder.parent / "evaluation.csv", scores.legacy)
    return write_evaluation(scores, folder, e.eval.bootstrap)
