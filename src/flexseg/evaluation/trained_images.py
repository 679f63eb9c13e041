"""Evaluation of the trained model of a config."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from flexseg.batches.store import CaseReader
from flexseg.config.findings import examples
from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.splits import find_splits
from flexseg.errors import DataError
from flexseg.evaluation.case_scores import PREDICTIONS, write_evaluation, write_legacy_csv
from flexseg.evaluation.image_scores import evaluate_model, prediction_writer
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.evaluation.trained_volumes import evaluate_volumes
from flexseg.inference.ensemble import (
    chosen_by,
    image_digest,
    is_ensemble,
    model_file,
    read_seen_images,
)
from flexseg.inference.loading import make_predictor
from flexseg.losses import get_loss, get_metric, weighted_mean
from flexseg.outputs import make_folder, set_aside, whole_folder
from flexseg.runs.folds import read_folds
from flexseg.runs.manifest import Manifest

logger = logging.getLogger(__name__)


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
    split = e.model.evaluation
    splits = find_splits(e, only=(split,))
    splits.raise_errors()
    splits.log()
    cases = splits.need(split)
    model = model_file(loaded)
    if split != "test" and is_ensemble(model) and not chosen_by(model, (c.image for c in cases)):
        raise DataError(
            f"The members of the ensemble were trained on cases of the {split} split.",
            "Evaluate it on the test split; of a cross-validation the pooled scores of the folds "
            "are in the run's evaluation folder.",
            "[model] evaluation",
        )
    if split == "test" and e.dataset.images_dir is not None:
        _refuse_seen_cases(e.train.run_dir, cases)
    if split == "test" and is_ensemble(model):
        _refuse_cases_of_members(model, e.train.run_dir, cases)
    predictor = make_predictor(loaded)
    if predictor.chosen_on.get("split") == split:
        logger.warning(
            "What is done with the predictions was chosen on these very cases: the scores are too "
            "good."
        )
    package = predictor.package
    channels = package.labels.channels
    loss = "loss" if package.labels.binary else e.model.loss
    figures = {loss: partial(weighted_mean, get_loss(e.model.loss, channels))}
    for name in e.model.metrics if package.labels.binary else e.model.metrics[:1]:
        figures[name] = partial(weighted_mean, get_metric(name, channels))
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    make_folder(folder)
    with whole_folder(folder / PREDICTIONS) as predictions:
        scores = evaluate_model(
            predictor,
            cases,
            reader,
            figures,
            on_case,
            measures=Measures.from_config(e.eval),
            keep=prediction_writer(predictions, package.labels),
        )
    scores.folders = {
        "images_dir": _folder_of(case.image for case in cases),
        "masks_dir": _folder_of(case.mask for case in cases),
        "predictions_dir": PREDICTIONS,
    }
    make_folder(legacy_csv.parent)
    write_legacy_csv(legacy_csv, scores.legacy)
    return write_evaluation(scores, folder, e.eval.bootstrap)


def _folder_of(files: Iterable[Path]) -> str | None:
    """The folder that all of some files are in; None if they are in several."""
    folders = {path.parent.absolute() for path in files}
    return str(folders.pop()) if len(folders) == 1 else None


def _refuse_cases_of_members(ensemble: Path, run_dir: Path, cases: Sequence[Case]) -> None:
    """What a member of an ensemble has seen is no test of it, wherever it lies.

    Images are known by their content. A name alone tells nothing of a folder that counts from 1
    like another one, but is all there is where the ensemble has no hashes of the images.
    """
    known = read_seen_images(ensemble).all
    seen = [case.id for case in cases if known and image_digest(case.image) in known]
    named = sorted(
        {case.id for case in cases}
        & {i for fold in read_folds(run_dir) or () for i in fold.held_out}
    )
    if seen or (named and not known):
        raise DataError(
            f"{len(seen or named)} of the {len(cases)} test cases were seen in the training of "
            f"members of the ensemble, e.g. {(seen or named)[0]}.",
            "Give test cases that took no part in it; of a cross-validation the pooled scores of "
            "the folds are in the run's evaluation folder.",
            "[test] images_dir",
        )
    if named:
        logger.warning(
            "%d test cases have names of cases that members of the ensemble were trained on, but "
            "are other files: %s. Make sure that they are not the same images.",
            len(named),
            examples(named),
        )


def _refuse_seen_cases(run_dir: Path, cases: Iterable[Case]) -> None:
    """Where one folder holds all splits, another seed or new files may divide it otherwise."""
    manifest = Manifest.find(run_dir)
    if manifest is None:
        return
    for split in ("train", "valid"):
        known = set(manifest.data[split].ids) if split in manifest.data else set()
        seen = [case.id for case in cases if case.id in known]
        if seen:
            raise DataError(
                f"{len(seen)} of the test cases were in the {split} set of this run, e.g. "
                f"{seen[0]}: the split has changed since.",
                "Give the same train.seed and files as for the training, or train again.",
                str(manifest.path),
            )
