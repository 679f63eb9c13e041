"""What the cases that each member of an ensemble has not seen tell of its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from flexseg.batches.store import CaseReader
from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.evaluation.postprocessing.cached_predictions import PredictionCache, Unit
from flexseg.evaluation.postprocessing.expected_quality import (
    calibrated,
    signals_of,
    temperature_of,
)
from flexseg.evaluation.postprocessing.steps import counts_of
from flexseg.evaluation.postprocessing.unseen_cases import of_folds, predict_cases
from flexseg.evaluation.postprocessing.volume_quality import averages_axes, quality_of_axes
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import model_file
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.trust.conformal import ClassCalibration, Trust
from flexseg.inference.tuned import TunedChoice, read_choice, write_choice
from flexseg.outputs import make_folder, scratch_folder


def calibrate_ensemble(
    loaded: LoadedConfig,
    folds: Sequence[Sequence[Case]],
    on_case: Callable[[int, int], None] | None = None,
) -> Path | None:
    """Learn how good the predictions of a cross-validation's ensemble are, and write it beside.

    Nothing is chosen: views, threshold and postprocessing are those of the config, and a choice of
    `flexseg tune-postprocessing` for this very ensemble stays as it is.

    Parameters
    ----------
    loaded : names the ensemble as its model.
    folds : the cases that each member has not seen.
    on_case : called with (done, total).

    Returns the file, None where a choice stays.

    Raises
    ------
    DataError : the ensemble has other members, or files are damaged.
    """
    e, model = loaded.experiment, model_file(loaded)
    predictor = make_predictor(loaded, tuned=False)
    package = predictor.package
    if read_choice(model, package.labels) is not None:
        return None
    sources = of_folds(predictor, folds)
    views, threshold, process = tuple(e.infer.tta), package.threshold, predictor.postprocessing
    thresholds = (threshold,) if package.labels.binary else ()
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    with scratch_folder(make_folder(model.parent) / "predictions") as scratch:
        (cache,) = predict_cases(
            sources, e.tiledinfer, reader, [views], thresholds, scratch, on_case
        )
        quality = {
            dimensions: _quality(
                cache, units, len(package.labels.classes), threshold, process.get(dimensions)
            )
            for dimensions, units in ((3, cache.volumes()), (2, cache.images()))
            if units
        }
        temperature = temperature_of(cache)
    axes: tuple[str, ...] = ()
    if averages_axes(e):
        whole = [(one.with_postprocessing(views, process), cases) for one, cases in sources]
        quality[3], axes = quality_of_axes(whole, e)
    evidence = {
        "split": "folds",
        "cases": len(cache.cases),
        "groups": len({case.group for case in cache.cases}),
    }
    trust = Trust(quality, False, threshold, temperature, axes)
    choice = TunedChoice(None, views, process, evidence, trust)
    return write_choice(model, choice, package.labels)


def _quality(
    cache: PredictionCache,
    units: Sequence[Unit],
    classes: int,
    threshold: float,
    process: Postprocessing | None,
) -> dict[int, ClassCalibration]:
    """Class id -> calibration of one kind of units."""
    clean = process or Postprocessing()
    pairs = ((clean(cache.labels(p, threshold)), t) for p, t in map(cache.load, units))
    groups = [unit.group for unit in units]
    return calibrated(signals_of(cache, units), groups, counts_of(pairs, classes), members=False)
