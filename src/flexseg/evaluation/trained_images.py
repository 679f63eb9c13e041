"""Evaluation of the trained model of a config."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from flexseg.batches.store import CaseReader
from flexseg.config.load import LoadedConfig
from flexseg.config.model import ModelConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.labels import LabelMap
from flexseg.evaluation.case_by_case.scoring_all import kept_cases
from flexseg.evaluation.case_scores import (
    PREDICTIONS,
    CaseScores,
    write_evaluation,
    write_legacy_csv,
)
from flexseg.evaluation.image_scores import (
    CaseScorer,
    Figure,
    prediction_of,
    prediction_writer,
)
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.evaluation.trained_volumes import evaluate_volumes
from flexseg.execution.shared import open_workers, remembered
from flexseg.execution.work_manifest import Manifest, identity_of, key_of
from flexseg.inference.configured import parts_of_key, sent
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import model_file
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import as_trained
from flexseg.losses import DICE, get_loss, get_metric, weighted_mean
from flexseg.one_writer import alone_in
from flexseg.outputs import continued_folder, make_folder, set_aside, try_outputs, whole_folder
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

    With `[volume] images_dir` the cases are whole volumes, see `evaluate_volumes`. Where workers
    share the cases, see `shared_by`, an evaluation that was interrupted goes on.

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
    make_folder(folder)
    scores = _scores(loaded, predictor, cases, folder, on_case)
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


def _scores(
    loaded: LoadedConfig,
    predictor: Predictor,
    cases: Sequence[Case],
    folder: Path,
    on_case: Callable[[int, int], None] | None,
) -> CaseScores:
    """Predict and score cases, and keep the predicted masks in the folder `predictions/`."""
    place = folder / PREDICTIONS
    workers = open_workers()
    if workers is None:
        with whole_folder(place) as predictions:
            mark(predictions, "evaluate")
            scorer = _scorer(loaded, predictor, predictions)
            found = scorer.in_batches(cases, on_case)
            scores = scorer.together(cases, found)
    else:
        scorer = _scorer(loaded, predictor, place)
        key = key_of(
            parts_of_key(loaded, scorer.predictor) | {"stacks": _stacks(scorer.reader, cases)}
        )
        with (
            Manifest.opened(folder, key) as manifest,
            continued_folder(place) as predictions,
        ):
            mark(predictions, "evaluate")
            found = remembered(
                partial(_in_worker, sent(loaded), predictions),
                cases,
                workers,
                manifest,
                kept_cases(
                    lambda case: prediction_of(case, predictions).is_file(),
                    scorer.reader.preprocessing.files,
                ),
                on_case,
                together=scorer.predictor.at_once,
            )
            scores = scorer.together(cases, found)
    scores.folders = {
        "images_dir": _folder_of(case.image for case in cases),
        "masks_dir": _folder_of(case.mask for case in cases),
        "predictions_dir": PREDICTIONS,
    }
    return scores


def _scorer(loaded: LoadedConfig, predictor: Predictor, predictions: Path) -> CaseScorer:
    """What predicts and scores cases as the config says, and keeps masks in a folder."""
    e, package = loaded.experiment, predictor.package
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    return CaseScorer(
        as_trained(predictor, e.tiledinfer),
        reader,
        original_figures(e.model, package.labels),
        Measures.from_config(e.eval),
        prediction_writer(predictions, reader.labels),
    )


def _in_worker(loaded: LoadedConfig, predictions: Path) -> CaseScorer:
    return _scorer(loaded, make_predictor(loaded), predictions)


def _stacks(reader: CaseReader, cases: Sequence[Case]) -> str | None:
    """All slices, where each is seen with its neighbours."""
    return identity_of(case.image for case in cases) if reader.preprocessing.neighbours else None


def _folder_of(files: Iterable[Path]) -> str | None:
    """The folder that all of some files are in; None if they are in several."""
    folders = {path.parent.absolute() for path in files}
    return str(folders.pop()) if len(folders) == 1 else None
