"""Scores of images: of what a network predicts, and of folders of masks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.config.findings import amount, examples
from flexseg.dataset.candidates.mask_names import case_of_mask
from flexseg.dataset.candidates.templates import Stems, best_rule
from flexseg.dataset.cases import (
    Case,
    Pairing,
    Regions,
    case_mask,
    group_of,
    pair,
    read_masks,
)
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.names import stem_of
from flexseg.errors import DataError
from flexseg.evaluation.case_by_case.scored_case import RESIZED, UNDECIDED, BatchFigures, ScoredCase
from flexseg.evaluation.case_by_case.scoring_all import score_all, without_errors
from flexseg.evaluation.case_scores import CaseScores
from flexseg.evaluation.folder_masks import (
    Files,
    Unknown,
    among,
    note_of_undecided,
    understand,
    unlike_names,
)
from flexseg.evaluation.metrics.calibration import of_decisions, with_background
from flexseg.evaluation.scoring import CaseResult, Measures, score_case
from flexseg.evaluation.summary import PredictionSettings
from flexseg.files.entries import list_files
from flexseg.files.images import IMAGE_SUFFIXES, MASK_SUFFIXES, MaskPixels, write_png
from flexseg.files.resizing import fitted_mask

if TYPE_CHECKING:
    from flexseg.inference.predictor import Predictor
    from flexseg.inference.results.prediction_table import Judgement
    from flexseg.inference.sliding_window import TiledPredictor
    from flexseg.inference.trust.signal import Signal

# Of class ids [B, h, w] and probabilities [B, h, w, C].
Figure = Callable[[NDArray[np.uint8], NDArray[np.float32]], float]

_Read = tuple[tuple[NDArray, NDArray[np.uint8]], NDArray]


def evaluate_model(
    predictor: Predictor | TiledPredictor,
    cases: Sequence[Case],
    reader: CaseReader,
    figures: Mapping[str, Figure],
    on_case: Callable[[int, int], None] | None = None,
    *,
    measures: Measures | None = None,
    keep: Callable[[Case, NDArray[np.uint8]], None] | None = None,
    look: Callable[[Case, NDArray[np.uint8], NDArray[np.float32]], None] | None = None,
) -> CaseScores:
    """Predict and score cases; what is held in memory are single batches.

    Parameters
    ----------
    figures : by name; averaged over batches as the original systems report them, at the size of
        `Predictor.predicted`.
    on_case : called with (done, total).
    keep : called with each case and its predicted class ids [H, W], from several threads.
    look : called with each case, its true class ids [h, w] and probabilities [h, w, classes] at
        the size of `Predictor.predicted`, from several threads.

    Raises
    ------
    DataError : files that are damaged or do not fit, all of which it lists.
    """
    scorer = CaseScorer(predictor, reader, figures, measures or Measures(), keep, look)
    return scorer.together(cases, scorer.in_batches(cases, on_case))


@dataclass
class CaseScorer:
    """Predicts and scores cases, see `evaluate_model`, whose parameters these are."""

    predictor: Predictor | TiledPredictor
    reader: CaseReader
    figures: Mapping[str, Figure]
    measures: Measures
    keep: Callable[[Case, NDArray[np.uint8]], None] | None = None
    look: Callable[[Case, NDArray[np.uint8], NDArray[np.float32]], None] | None = None

    def in_batches(
        self, cases: Sequence[Case], on_case: Callable[[int, int], None] | None = None
    ) -> list[ScoredCase | DataError | None]:
        """What became of all cases; after an error they are only looked at."""
        found: list[ScoredCase | DataError | None] = []
        failed = False
        for start in range(0, len(cases), self.predictor.at_once):
            batch = cases[start : start + self.predictor.at_once]
            found += self(batch, score=not failed)
            failed = failed or any(isinstance(one, DataError) for one in found[start:])
            if on_case is not None and not failed:
                on_case(len(found), len(cases))
        return found

    def __call__(
        self, cases: Sequence[Case], *, score: bool = True
    ) -> list[ScoredCase | DataError | None]:
        """What became of each case of a batch; None: nothing, as another one is damaged.

        Parameters
        ----------
        score : False: they are only read.
        """
        with ThreadPoolExecutor() as pool:
            read = [*pool.map(self._read, cases)]
            if not score or any(isinstance(one, DataError) for one in read):
                return [one if isinstance(one, DataError) else None for one in read]
            native, prepared = zip(*cast("list[_Read]", read), strict=True)
            y = np.stack([self.predictor.reference(labels) for _, labels in native])
            signals: list[Signal] = []
            on_signal = signals.append if self.predictor.trust.quality else None
            p = self.predictor.predicted(prepared, on_signal)
            told: list[Signal | None] = [*signals] or [None] * len(cases)
            counting = int((y != IGNORED).any(axis=(1, 2)).sum())
            sums = {name: function(y, p) * counting for name, function in self.figures.items()}
            results = [*pool.map(self._score, cases, native, p, told, prepared)]
            if self.look is not None:
                list(pool.map(self.look, cases, y, p))
        first = ScoredCase(results[0], batch=BatchFigures(sums, counting))
        return [first, *map(ScoredCase, results[1:])]

    def together(
        self, cases: Sequence[Case], found: Iterable[ScoredCase | DataError | None]
    ) -> CaseScores:
        """What became of all cases, as one.

        Raises
        ------
        DataError : cases that are damaged or do not fit, all of which it lists.
        """
        scores = CaseScores(self.reader.labels, self.measures)
        sums: dict[str, float] = {}
        images = 0
        for case, one in zip(cases, without_errors(found, len(cases)), strict=True):
            scores.put(case, one.result)
            if one.batch is not None:
                sums = {name: sums.get(name, 0.0) + more for name, more in one.batch.sums.items()}
                images += one.batch.images
        scores.legacy = {name: total / images for name, total in sums.items() if images}
        scores.inference = cast(PredictionSettings, self.predictor.describe())
        return scores

    def _read(self, case: Case) -> _Read | DataError:
        """A case at its own size, and its image prepared."""
        try:
            image, labels = self.reader.native(case)
            return (image, labels), self.predictor.prepared(image, str(case.image))
        except DataError as error:
            return error

    def _score(
        self,
        case: Case,
        pixels: tuple[NDArray, NDArray[np.uint8]],
        p: NDArray[np.float32],
        signal: Signal | None,
        prepared: NDArray,
    ) -> CaseResult:
        image, labels = pixels
        prediction, result = _scored(self.predictor, p, image.shape[:2], labels, self.measures)
        judgement = _judged(self.predictor, case, prediction, signal, image, prepared)
        if self.keep is not None:
            self.keep(case, prediction)
        return replace(result, judgement=judgement)


def _judged(
    predictor: Predictor | TiledPredictor,
    case: Case,
    prediction: NDArray[np.uint8],
    signal: Signal | None,
    image: NDArray,
    prepared: NDArray,
) -> Judgement:
    """What is known of a prediction without its reference."""
    # Scores of masks without a network need no engine, which these load.
    from flexseg.dataset.acquisition import Acquired
    from flexseg.files.large_images import ArrayRows
    from flexseg.inference.pipeline import checked, checked_by_windows
    from flexseg.inference.predictor import Predictor
    from flexseg.inference.results.prediction_table import Judgement, counted

    quality = predictor.trust.statements(signal, counted(prediction), 2)
    header = Acquired.of_file(case.image)
    if not isinstance(predictor, Predictor):
        check = checked_by_windows(predictor, ArrayRows(image), header, str(case.image))
        return Judgement(quality, check)
    acquired = replace(header, size=(image.shape[0], image.shape[1]))
    return Judgement(quality, checked(predictor, prepared, acquired, image.dtype))


def _scored(
    predictor: Predictor | TiledPredictor,
    p: NDArray[np.float32],
    size: tuple[int, int],
    labels: NDArray[np.uint8],
    measures: Measures,
) -> tuple[NDArray[np.uint8], CaseResult]:
    """Predicted class ids of an image at its own size, and their scores."""
    native = predictor.resize(p, size)
    decided = predictor.labels(native)
    prediction = predictor.postprocess(decided)
    classes = len(predictor.package.labels.classes)
    result = score_case(labels, prediction, classes, measures, native)
    if prediction is not decided:
        # Postprocessing says nothing about probabilities: their calibration is that of the
        # network's own decisions.
        calibration = of_decisions(with_background(native), labels, decided)
        result = replace(result, calibration=calibration)
    return prediction, result


def score_folders(
    predictions: Path,
    masks: Path,
    labels: LabelMap,
    measures: Measures,
    *,
    mask_name: str = "{id}",
    group: str | None = None,
    unknown: Unknown = "error",
    regions: Regions | None = None,
    image_folders: Sequence[Path | None] = (),
    only: Collection[Path] | None = None,
    on_case: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
) -> tuple[CaseScores, list[str]]:
    """Score a folder of predicted masks against a folder of reference masks.

    Masks pair by file name, and are read as `understand` says. Returns the scores and the names
    without a partner.

    Parameters
    ----------
    mask_name : name of the reference that belongs to the prediction `{id}`; where it pairs none,
        equal names do, else the rule that the names tell, see `best_rule`.
    only : the references that are scored; None: all.
    unknown : what becomes of values in no class, see `[mask] unknown_colors`.
    group : regular expression for `Case.group`.
    regions : what counts of the references; None: all.
    image_folders : where the images of the cases may be, for those who show them.
    on_case : called with (done, total).
    folder : see `score_all`.

    Raises
    ------
    DataError : no pair at all, or files that are damaged or do not fit, all of which it lists.
    """
    pairing, rule = _paired(predictions, masks, mask_name, group)
    if only is not None:
        pairing = among(pairing, only, predictions)
    cases = (regions or Regions()).of(pairing.cases)
    if pairing.equal_names:
        raise DataError(
            f"{amount(len(pairing.equal_names), 'file', 'has', 'have')} the name of another one "
            "but for the suffix: "
            f"{examples([path.name for path in pairing.equal_names])}.",
            "Keep one file per mask.",
            str(pairing.equal_names[0].parent),
        )
    by_mask = {case.masks: case for case in cases}

    predicted = understand("predictions", [(c.image,) for c in cases], labels, unknown, read_masks)
    read = partial(_reference, by_mask)
    true = understand("reference masks", [c.masks for c in cases], labels, unknown, read)
    compare = _Comparison(predicted.labels, true.labels, len(labels.classes), measures)
    results = score_all(compare, cases, folder, on_case, most_errors=len(cases))
    scores = CaseScores(labels, measures)
    for case, one in zip(cases, results, strict=True):
        scores.put(case, one.result)
    resized, undecided = (
        [case.image.name for case, one in zip(cases, results, strict=True) if remark in one.remarks]
        for remark in (RESIZED, UNDECIDED)
    )
    notes = (rule, predicted.note, true.note, _of_other_size(resized), note_of_undecided(undecided))
    scores.notes = [note for note in notes if note]
    scores.folders = {
        "images_dir": _folder_of_images(image_folders, cases),
        "masks_dir": str(masks.absolute()),
        "predictions_dir": str(predictions.absolute()),
    }
    unpaired = [p.name for p in (*pairing.images_without_mask, *pairing.masks_without_image)]
    return scores, unpaired


def _reference(cases: Mapping[Files, Case], files: Files) -> MaskPixels:
    """The mask of the case that has these files."""
    return case_mask(cases[files])


@dataclass(frozen=True)
class _Comparison:
    """Scores a predicted mask against its reference.

    Attributes
    ----------
    predicted, true : the maps that read the two.
    classes : number of classes, the background included.
    """

    predicted: LabelMap
    true: LabelMap
    classes: int
    measures: Measures

    def __call__(self, case: Case) -> ScoredCase:
        reference = self.true.encode(case_mask(case), str(case.mask)).labels
        prediction = self.predicted.encode(read_masks((case.image,)), str(case.image)).labels
        resized = prediction.shape != reference.shape
        size = (reference.shape[0], reference.shape[1])
        prediction = fitted_mask(prediction, size, case.image)
        remarks = {RESIZED: resized, UNDECIDED: bool((prediction == IGNORED).any())}
        result = score_case(reference, prediction, self.classes, self.measures)
        return ScoredCase(result, tuple(remark for remark, holds in remarks.items() if holds))


def _paired(
    predictions: Path, masks: Path, mask_name: str, group: str | None
) -> tuple[Pairing, str]:
    """The pairs of two folders, and a note if a rule that the names tell has found them."""
    predicted, reference = (
        sorted({stem_of(path) for path in list_files(folder, MASK_SUFFIXES)})
        for folder in (predictions, masks)
    )
    stems = Stems(frozenset(predicted), frozenset(reference))
    known = dict.fromkeys((mask_name, "{id}"))
    rule = best_rule(known, stems) or "{id}"
    pairing = pair(predictions, masks, mask_name=rule, group=group, image_suffixes=MASK_SUFFIXES)
    if not pairing.cases:
        raise unlike_names(predicted[0], reference[0], predictions, masks)
    if rule in known:
        return pairing, ""
    # Called as the images are, which predictions of other names do not tell.
    cases = []
    for case in pairing.cases:
        name = stem_of(case.mask)
        own = case_of_mask(mask_name, name) or name
        cases.append(replace(case, id=own, group=group_of(own, group)))
    first = cases[0]
    return replace(pairing, cases=tuple(cases)), (
        f"Predictions are paired with references by their names ({rule}), as {first.image.name} "
        f"with {first.mask.name}."
    )


def _of_other_size(names: Sequence[str]) -> str:
    if not names:
        return ""
    return (
        f"{amount(len(names), 'prediction')} of another size than the reference, which "
        f"{'was' if len(names) == 1 else 'were'} brought to it by nearest neighbour: "
        f"{examples(names)}."
    )


def _folder_of_images(folders: Iterable[Path | None], cases: Iterable[Case]) -> str | None:
    """The first of some folders that has the images of all cases, if one has."""
    names = {case.id for case in cases}
    for folder in folders:
        if folder is not None and folder.is_dir():
            stems = {stem_of(path) for path in list_files(folder, IMAGE_SUFFIXES)}
            if names <= stems:
                return str(folder)
    return None


def prediction_writer(folder: Path, labels: LabelMap) -> Callable[[Case, NDArray[np.uint8]], None]:
    """What writes the predicted class ids [H, W] of a case into a folder.

    Indexed PNGs at the image's own size: pixel value = class id, palette = the classes' colours.
    """

    def write(case: Case, predicted: NDArray[np.uint8]) -> None:
        write_png(prediction_of(case, folder), predicted, labels.palette)

    return write


def prediction_of(case: Case, folder: Path) -> Path:
    """The file of a case's predicted mask in a folder of them."""
    return folder / f"{case.id}.png"
