"""Cases that a trained model has not seen, and their predictions in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from flexseg.batches.store import CaseReader
from flexseg.config.findings import amount
from flexseg.config.infer import TiledInferConfig
from flexseg.dataset.cases import Case
from flexseg.errors import DataError
from flexseg.evaluation.postprocessing.cached_predictions import PredictionCache
from flexseg.inference.ensemble import EnsemblePredictor
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import as_trained
from flexseg.outputs import make_folder

# A predictor, and cases that it has not seen.
Source = tuple[Predictor, Sequence[Case]]


def of_folds(predictor: Predictor, folds: Sequence[Sequence[Case]] | None) -> list[Source]:
    """Each member of an ensemble with the cases that it has not seen.

    Raises
    ------
    DataError : these are not known, or not as many as there are members.
    """
    if folds is None:
        raise DataError(
            "The members of the ensemble were trained on the validation cases, and it is not "
            "known which member has not seen which case.",
            "Give the run_dir of the cross-validation, which has a folds.json.",
            "[train] run_dir",
        )
    members, engines = (
        (predictor.members, predictor.engines)
        if isinstance(predictor, EnsemblePredictor)
        else ((), ())
    )
    if len(members) != len(folds):
        raise DataError(
            f"The ensemble has {amount(len(members), 'member')}, but the cross-validation has "
            f"{amount(len(folds), 'fold')}.",
            "Give the run_dir and the ensemble of the same cross-validation.",
            "[train] run_dir",
        )
    size, blur = predictor.batch_size, predictor.blur
    return [
        (Predictor(member, size, blur, engine), tuple(held_out))
        for member, engine, held_out in zip(members, engines, folds, strict=True)
    ]


def predict_cases(
    sources: Sequence[Source],
    windows: TiledInferConfig,
    reader: CaseReader,
    tta: Sequence[tuple[str, ...]],
    thresholds: tuple[float, ...],
    folder: Path,
    on_case: Callable[[int, int], None] | None,
) -> list[PredictionCache]:
    """The predictions of all cases, once for each choice of views."""
    cases = sum(len(part) for _, part in sources)
    caches = []
    for number, views in enumerate(tta):
        cache = PredictionCache(make_folder(folder / str(number)), thresholds)
        report = _shifted(on_case, number * cases, len(tta) * cases)
        seeing = [
            (as_trained(one.with_postprocessing(views), windows), part) for one, part in sources
        ]
        cache.predict(seeing, reader, report)
        caches.append(cache)
    return caches


def _shifted(
    on_case: Callable[[int, int], None] | None, done: int, total: int
) -> Callable[[int, int], None] | None:
    return None if on_case is None else lambda count, _: on_case(done + count, total)
