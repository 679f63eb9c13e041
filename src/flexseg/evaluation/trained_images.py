"""Evaluation of the trained model of a config."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from flexseg.batches.store import CaseReader
from flexseg.config.load import LoadedConfig
from flexseg.config.model import ModelConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.labels import LabelMap
from flexseg.evaluation.case_scores import (
    PREDICTIONS,
    CaseScores,
    write_evaluation,
    write_legacy_csv,
)
from flexseg.evaluation.image_scores import Figure, evaluate_model, prediction_writer
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.evaluation.trained_volumes import evaluate_volumes
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import model_file
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor, as_trained
from flexseg.losses import DICE, get_loss, get_metric, weighted_mean
from flexseg.one_writer import alone_in
from flexseg.outputs import make_folder, set_aside, try_outputs, whole_folder
from flexseg.own_results import mark
from flexseg.runs.given import CASES, ORIGINAL_SCORES
from flexseg.runs.seen import refuse_seen_cases

logger = logging.getLogger(__name__)


@alone_in("folder")
def evaluate(
    loaded: LoadedConfig,
    folder: Path,
    legacy_csv: Path,
    on_case: Callable[[float, int], None] | None = None,
) -> EvaluationSummary:
    """Score the trained model on the split that `[model] evaluation` names.

    With `[volume] images_dir` the cases are whole volumes, see `evaluate_volumes`.

    Parameters
    ----------
    folder : receives `cases.csv`, `summary.json` and the predicted masks in `predictions/`.
    legacy_csv : file for the original systems' figures (`evaluation.csv`).

    Returns the summary.

    Raises
    ------
    DataError : no weights, damaged files, or test cases that the model was trained on.
    """
    e = loaded.experiment
    if e.volume.images_dir is not None:
        # The original systems' figures are of images at the network's size.
        set_aside(legacy_csv)
        logger.info("Whole volumes are scored; there is no %s of them.", legacy_csv.name)
        return evaluate_volumes(loaded, folder, on_case)
    try_outputs(
        [(ORIGINAL_SCORES, legacy_csv), ("--output", folder / CASES)],
        [("--output", folder / PREDICTIONS)],
    )
    split = e.model.evaluation
    splits = find_splits(e.data, only=(split,))
    splits.raise_errors()
    splits.log()
    cases = splits.need(split)
    model = model_file(loaded)
    one_folder = e.dataset.images_dir is not None
    refuse_seen_cases(cases, split, model, e.train.run_dir, one_folder=one_folder)
    predictor = make_predictor(loaded)
    if predictor.chosen_on.get("split") == split:
        logger.warning(
            "The postprocessing was chosen on these very cases: the scores are too good."
        )
    package = predictor.package
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    figures = original_figures(e.model, package.labels)
    measures = Measures.from_config(e.eval)
    make_folder(folder)
    seeing = as_trained(predictor, e.tiledinfer)
    scores = score_predictions(seeing, cases, reader, folder, measures, figures, on_case)
    make_folder(legacy_csv.parent)
    write_legacy_csv(legacy_csv, scores.legacy)
    if not loaded.legacy:  # nobody has the original's figures to compare with
        scores.legacy = {}
    return write_evaluation(scores, folder, e.eval.bootstrap)


def original_figures(model: ModelConfig, labels: LabelMap) -> dict[str, Figure]:
    """The figures that the original systems report, by name: loss and metrics of a training."""
    loss = "loss" if labels.binary else model.loss
    channels, ignoring = labels.channels, labels.ignored is not None
    figures: dict[str, Figure] = {
        loss: partial(weighted_mean, get_loss(model.loss, channels, ignoring=ignoring))
    }
    metrics = [name for name in model.metrics if name != DICE]  # which is the evaluation's own
    for name in metrics if labels.binary else metrics[:1]:
        metric = get_metric(name, channels, ignoring=ignoring)
        figures[name] = partial(weighted_mean, metric)
    return figures


def score_predictions(
    predictor: Predictor | TiledPredictor,
    cases: Sequence[Case],
    reader: CaseReader,
    folder: Path,
    measures: Measures,
    figures: Mapping[str, Figure],
    on_case: Callable[[int, int], None] | None = None,
) -> CaseScores:
    """Predict and score cases, and keep the predicted masks in the folder `predictions/`.

    Parameters
    ----------
    figures : see `evaluate_model`.
    """
    with whole_folder(folder / PREDICTIONS) as predictions:
        mark(predictions, "evaluate")
        keep = prediction_writer(predictions, reader.labels)
        scores = evaluate_model(
            predictor, cases, reader, figures, on_case, measures=measures, keep=keep
        )
    scores.folders = {
        "images_dir": _folder_of(case.image for case in cases),
        "masks_dir": _folder_of(case.mask for case in cases),
        "predictions_dir": PREDICTIONS,
    }
    return scores


def _folder_of(files: Iterable[Path]) -> str | None:
    """The folder that all of some files are in; None if they are in several."""
    folders = {path.parent.absolute() for path in files}
    return str(folders.pop()) if len(folders) == 1 else None
