"""`flexseg review`: predict the annotated cases of a run, and rank their annotations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.evaluation.case_scores import BETWEEN_FILES
from flexseg.evaluation.image_scores import prediction_writer
from flexseg.evaluation.postprocessing.unseen_cases import of_folds
from flexseg.evaluation.review.evidence import CaseEvidence
from flexseg.evaluation.review.ranking import FEWEST_CASES, Suspicion, rank
from flexseg.evaluation.review.reviewed_cases import TABLE
from flexseg.files.display import displayable
from flexseg.files.images import read_image, read_mask, write_png
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import is_ensemble, model_file
from flexseg.inference.pictures.overlay import overlay
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor, as_trained
from flexseg.machine import real_path
from flexseg.outputs import make_folder, scratch_folder, try_outputs, whole_folder, write_csv
from flexseg.own_results import mark
from flexseg.runs.folds import FILE_NAME as FOLDS
from flexseg.runs.folds import recorded_division

logger = logging.getLogger(__name__)

_PREDICTIONS, _PICTURES = "predictions", "pictures"
_COLUMNS = (
    "rank", "case", "group", "score", "suspicious", "kind", "evidence", "seen_in_training",
    "prediction", "image", "mask", "more_masks",
)  # fmt: skip
# More pictures nobody looks at.
_MOST_PICTURES = 30
_OPACITY = 0.3


@dataclass
class AnnotationReview:
    """Collects the evidence on cases, and writes what comes of it.

    Attributes
    ----------
    seen_in_training : the networks were trained on these very annotations.
    found : evidence by case.
    """

    labels: LabelMap
    seen_in_training: bool
    found: list[CaseEvidence] = field(default_factory=list)

    def add(
        self, case: Case, labels: NDArray[np.uint8], probabilities: NDArray[np.float32]
    ) -> None:
        """Compare a case's annotation with its prediction, see `CaseEvidence.of`; several threads
        may do so at once."""
        self.found.append(CaseEvidence.of(case, labels, probabilities))

    def write(self, folder: Path, predictions: Path, reader: CaseReader) -> list[Suspicion]:
        """Write the ranking into a new folder, which takes the place of an earlier one.

        Parameters
        ----------
        folder : receives `annotations.csv`; of the suspicious cases also `predictions/` (class
            ids) and `pictures/` (image, annotation, prediction side by side).
        predictions : has the predicted class ids of all cases, as `prediction_writer` writes them.
        """
        found = sorted(self.found, key=lambda one: one.case.id)  # threads have their own order
        ranked = rank(found, self.labels)
        if len(found) < FEWEST_CASES:
            logger.warning(
                "With %d cases, it is not clear what is usual: the ranking needs %d or more.",
                len(found),
                FEWEST_CASES,
            )
        shown = [one for one in ranked if one.suspicious][:_MOST_PICTURES]
        with whole_folder(folder) as part:
            mark(part, "review")
            write_csv(part / TABLE, _COLUMNS, self._rows(ranked, len(shown)))
            for name in (_PREDICTIONS, _PICTURES) if shown else ():
                make_folder(part / name)
            for number, one in enumerate(shown, start=1):
                own = read_mask(predictions / f"{one.case.id}.png").pixels
                name = _file_of(number, one.case)
                write_png(part / _PREDICTIONS / name, own, self.labels.palette)
                write_png(part / _PICTURES / name, self._picture(one.case, own, reader))
        return ranked

    def _rows(self, ranked: Sequence[Suspicion], shown: int) -> Iterator[tuple[object, ...]]:
        for number, one in enumerate(ranked, start=1):
            case = one.case
            yield (
                number,
                case.id,
                case.group,
                round(one.score, 2),
                "yes" if one.suspicious else "no",
                one.kind,
                one.evidence,
                "yes" if self.seen_in_training else "no",
                f"{_PREDICTIONS}/{_file_of(number, case)}" if number <= shown else "",
                real_path(case.image),
                real_path(case.mask),
                BETWEEN_FILES.join(str(real_path(mask)) for mask in case.more_masks),
            )

    def _picture(
        self, case: Case, predicted: NDArray[np.uint8], reader: CaseReader
    ) -> NDArray[np.uint8]:
        """Image, annotation and prediction side by side."""
        rgb = displayable(read_image(case.image))
        size = (rgb.shape[0], rgb.shape[1])
        annotated = reader.native_labels(case, size)
        masks = (np.where(annotated == IGNORED, np.uint8(0), annotated), predicted)
        return np.concatenate([rgb, *(overlay(rgb, m, self.labels, _OPACITY) for m in masks)], 1)


def _file_of(number: int, case: Case) -> str:
    return f"{number:03d}_{case.id}.png"


def review(
    loaded: LoadedConfig, folder: Path, on_case: Callable[[int, int], None] | None = None
) -> tuple[list[Suspicion], AnnotationReview]:
    """Rank the annotations of a run's cases for training and validation.

    Those of a cross-validation are predicted by the network that has not seen them, others by the
    network that was trained on them. Test cases are left out: a test that is corrected by what the
    network says is no test of it any more.

    Parameters
    ----------
    folder : of the results, see `AnnotationReview.write`.
    on_case : called with (done, total).

    Raises
    ------
    DataError : no weights, or files are damaged.
    """
    try_outputs(folders=[("--output", folder)])
    e = loaded.experiment
    sources, seen = _sources(loaded)
    package = sources[0][0].package
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    found = AnnotationReview(package.labels, seen)
    total = sum(len(cases) for _, cases in sources)
    make_folder(folder.parent)
    with scratch_folder(folder) as scratch, ThreadPoolExecutor() as pool:
        keep = prediction_writer(scratch, package.labels)
        for predictor, cases in sources:
            for start in range(0, len(cases), predictor.at_once):
                chunk = cases[start : start + predictor.at_once]
                native = [reader.native(case) for case in chunk]
                answers = predictor.predicted(
                    [
                        predictor.prepared(image, str(case.image))
                        for case, (image, _) in zip(chunk, native, strict=True)
                    ]
                )
                references = [predictor.reference(labels) for _, labels in native]
                list(pool.map(found.add, chunk, references, answers))
                for case, (image, _), p in zip(chunk, native, answers, strict=True):
                    predicted = predictor.labels(predictor.resize(p, image.shape[:2]))
                    keep(case, predictor.postprocess(predicted))
                if on_case is not None:
                    on_case(len(found.found), total)
        return found.write(folder, scratch, reader), found


def _sources(
    loaded: LoadedConfig,
) -> tuple[list[tuple[Predictor | TiledPredictor, Sequence[Case]]], bool]:
    """Predictors and their cases, and whether they were trained on them."""
    e = loaded.experiment
    predictor = make_predictor(loaded)
    if is_ensemble(model_file(loaded)) and (e.train.run_dir / FOLDS).exists():
        folds = recorded_division(e.data, e.train.run_dir).folds
        views = [view.name for view in predictor.views]
        return [
            (as_trained(one.with_postprocessing(views), e.tiledinfer), cases)
            for one, cases in of_folds(predictor, [fold.held_out for fold in folds])
        ], False
    splits = find_splits(e.data, only=("train", "valid"))
    splits.raise_errors()
    cases = (*splits.need("train"), *splits.cases.get("valid", ()))
    return [(as_trained(predictor, e.tiledinfer), cases)], True
