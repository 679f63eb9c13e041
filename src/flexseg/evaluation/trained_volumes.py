"""Evaluation of a network of slices on whole volumes, in 3-D.

The volumes are those that `[volume] images_dir` and `masks_dir` hold; a volume is in the split that
its slices, or its own name in the split file, are in. They are predicted as `flexseg infer3d` does,
and scored in mm and ml.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount, examples
from flexseg.config.infer import Infer3dConfig
from flexseg.config.load import LoadedConfig
from flexseg.config.schema import VolumeConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.splits import SplitName, Splits
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.volumetric.pairing import find_pairs, group_of_volume, volume_of
from flexseg.errors import ConfigError, DataError
from flexseg.evaluation.case_by_case.scored_case import SHEARED, ScoredCase
from flexseg.evaluation.case_by_case.scoring_all import kept_cases, without_errors
from flexseg.evaluation.case_scores import (
    FILES_TABLE,
    PREDICTIONS,
    CaseScores,
    write_evaluation,
    write_files_table,
)
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.summary import EvaluationSummary, PredictionSettings
from flexseg.evaluation.volume_scores import class_ids, score_on_grid, warn_of_sheared
from flexseg.execution.mapping import Function, one_by_one
from flexseg.execution.shared import open_workers, remembered
from flexseg.execution.work_manifest import Manifest, key_of
from flexseg.files.channel_files.channel_reading import read_channel_volumes
from flexseg.files.volumes.geometry import GeometryRule, match_label
from flexseg.files.volumes.read import read_labels
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from flexseg.inference.configured import parts_of_key, sent
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import model_file
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.volume_outputs import label_suffix
from flexseg.inference.sliding_window import tiles_of
from flexseg.inference.volumes.volume_files import explained_memory
from flexseg.inference.volumes.volume_predictor import VolumePredictor, cut_names, reads_xyz
from flexseg.model_file.model_description import ModelDescription
from flexseg.outputs import continued_folder, make_folder, try_outputs, whole_folder
from flexseg.own_results import mark
from flexseg.runs.given import CASES
from flexseg.runs.seen_volumes import (
    images_seen,
    refuse_trained_content,
    refuse_trained_names,
)

logger = logging.getLogger(__name__)

OnVolume = Callable[[float, int], None]


def volumes_of_split(
    config: VolumeConfig, splits: Splits, split: SplitName, group: str | None
) -> tuple[Case, ...]:
    """The volumes of a split, with their labels.

    Parameters
    ----------
    splits : the slices of each split, and the volumes that a split file names.
    group : regular expression for `Case.group`.

    Raises
    ------
    ConfigError : the config names no volumes, or none of them for the split.
    DataError : folders are missing, or slices of the split are of no volume.
    """
    if config.images_dir is None or config.masks_dir is None:
        raise ConfigError(
            "The config names no volumes.",
            "Set images_dir and masks_dir in [volume].",
            "[volume] images_dir",
        )
    known = find_pairs(config.images_dir, config.masks_dir).by_stem
    several = len(config.axes) > 1
    groups = {
        stem: group_of_volume(stem, group, several_axes=several)
        for stem in splits.volumes.get(split, ())
    }
    lost = []
    for case in splits.cases.get(split, ()):
        stem = volume_of(case.id, known)
        if stem is None:
            lost.append(case.id)
        else:
            groups[stem] = case.group
    if lost:
        raise DataError(
            f"{amount(len(lost), 'slice')} of the {split} split "
            f"{'belongs' if len(lost) == 1 else 'belong'} to no volume: {examples(lost)}.",
            "Name slices <volume>_<number> or <volume>_<axis>_<number>, as `flexseg derive "
            "volumes` does, and give the volumes from which they were cut.",
            str(config.images_dir),
        )
    if not groups:
        raise ConfigError(
            f"There is no volume for the {split} split.",
            "Name volumes in [dataset] split_file, or slices of them.",
            "[model] evaluation",
        )
    return tuple(
        Case(stem, known[stem].image, known[stem].label, groups[stem]) for stem in sorted(groups)
    )


def evaluate_volumes(
    loaded: LoadedConfig, folder: Path, on_volume: OnVolume | None = None
) -> EvaluationSummary:
    """Predict and score the volumes of `[model] evaluation`; one is in memory at a time.

    Parameters
    ----------
    folder : receives `cases.csv` (a row per volume and class), `summary.json`, `files.csv` and the
        label volumes in `predictions/`, in the geometry of their image.
    on_volume : called with (volumes done, total), also within a volume.

    Returns the summary.

    Raises
    ------
    DataError : no weights, damaged files, labels on another grid than their image, or volumes that
        the model was trained on.
    """
    e = loaded.experiment
    try_outputs([("--output", folder / CASES)], [("--output", folder / PREDICTIONS)])
    model, split = model_file(loaded), e.model.evaluation
    splits = find_splits(e.data, only=(split,))
    splits.raise_errors()
    splits.log()
    cases = volumes_of_split(e.volume, splits, split, e.dataset.group)
    refuse_trained_names(cases, split, model, e.train.run_dir)
    seen = images_seen(model, split)
    predictor = make_predictor(loaded)
    if predictor.chosen_on.get("split") == split:
        logger.warning(
            "The postprocessing was chosen on these very cases: the scores are too good."
        )
    scorer = _scorer(loaded, predictor, folder)
    if e.eval.spacing is not None:
        logger.warning("[eval] spacing is not used: each volume has its own.")
    for case in cases if seen else ():
        try:
            volume = scorer.image(case)
        except DataError:  # told below, with all others
            continue
        refuse_trained_content(volume, predictor.package.preprocessing, seen, case.image)
    if untrained := scorer.predictor.untrained_axes():
        logger.warning(
            "average_axes uses %s slices too, on which the network was not trained.",
            " and ".join(untrained),
        )
    make_folder(folder)
    results = without_errors(_results(loaded, scorer, cases, folder, on_volume), len(cases))
    scores = CaseScores(scorer.labels, scorer.measures)
    for case, one in zip(cases, results, strict=True):
        scores.put(case, one.result)
    pairs = zip(cases, results, strict=True)
    warn_of_sheared([case.id for case, one in pairs if SHEARED in one.remarks])
    scores.folders = {
        "images_dir": str(e.volume.images_dir),
        "masks_dir": str(e.volume.masks_dir),
        "predictions_dir": PREDICTIONS,
    }
    cuts = cut_names(scorer.predictor.cuts(reads_xyz(cases[0].image)))
    scores.inference = cast(PredictionSettings, predictor.describe() | {"slices": cuts})
    summary = write_evaluation(scores, folder, e.eval.bootstrap)
    write_files_table(folder / FILES_TABLE, cases)
    return summary


def _results(
    loaded: LoadedConfig,
    scorer: VolumeScorer,
    cases: Sequence[Case],
    folder: Path,
    on_volume: OnVolume | None,
) -> list[ScoredCase | DataError | None]:
    """Predict and score volumes, and keep the label volumes in the folder `predictions/`."""
    place = folder / PREDICTIONS
    workers = open_workers()
    if workers is None:
        with whole_folder(place) as predictions:
            mark(predictions, "evaluate")
            found = scorer.one_by_one(cases, predictions, on_volume)
            without_errors(found, len(cases))
        return found
    key = key_of(parts_of_key(loaded, scorer.predictor.predictor))
    with Manifest.opened(folder, key) as manifest, continued_folder(place) as predictions:
        mark(predictions, "evaluate")
        found = remembered(
            partial(_in_worker, sent(loaded), folder, predictions),
            cases,
            workers,
            manifest,
            kept_cases(
                lambda case: scorer.prediction_of(case, predictions).is_file(),
                scorer.predictor.predictor.package.preprocessing.files,
            ),
            on_volume,
        )
        without_errors(found, len(cases))
    return found


def _in_worker(loaded: LoadedConfig, folder: Path, predictions: Path) -> Function[Case, ScoredCase]:
    scorer = _scorer(loaded, make_predictor(loaded), folder)
    return one_by_one(partial(scorer.scored, predictions=predictions))


def _scorer(loaded: LoadedConfig, predictor: Predictor, folder: Path) -> VolumeScorer:
    e = loaded.experiment
    tiles = tiles_of(predictor, e.tiledinfer, tiled=e.infer3d.tiled)
    measures = replace(Measures.from_config(e.eval), spacing=None, volumes=True)
    return VolumeScorer(VolumePredictor(predictor, e.infer3d, tiles), measures, e.infer3d, folder)


def read_pair(
    case: Case, config: Infer3dConfig, package: ModelDescription
) -> tuple[Volume, NDArray[np.uint8]]:
    """The volume of a case, and its true class ids [z, y, x] in the voxel order of the image.

    Parameters
    ----------
    package : says how many files an image has, and what the values of labels mean.

    Raises
    ------
    DataError : a file is damaged, the labels are on another grid or have unknown values.
    """
    volume = _image(case, config, package)
    matched, _ = match_label(read_labels(case.mask), volume, GeometryRule.STRICT, case.mask)
    return volume, class_ids(matched.array, package.labels, case.mask)


def _within(on_volume: OnVolume | None, done: int, total: int) -> Callable[[int, int], None] | None:
    """The progress of one volume as a part of the whole."""
    return None if on_volume is None else lambda i, n: on_volume(done + i / n, total)


@dataclass(frozen=True)
class VolumeScorer:
    """Predicts and scores volumes.

    Attributes
    ----------
    folder : that may hold large arrays for a time.
    """

    predictor: VolumePredictor
    measures: Measures
    config: Infer3dConfig
    folder: Path

    @property
    def labels(self) -> LabelMap:
        """The classes."""
        return self.predictor.predictor.package.labels

    def image(self, case: Case) -> Volume:
        """The volume of a case."""
        return _image(case, self.config, self.predictor.predictor.package)

    def prediction_of(self, case: Case, predictions: Path) -> Path:
        """The file of a case's predicted labels in a folder of them."""
        return predictions / f"{case.id}{label_suffix(case.image, self.config.label_format)}"

    def one_by_one(
        self, cases: Sequence[Case], predictions: Path, on_volume: OnVolume | None
    ) -> list[ScoredCase | DataError | None]:
        """What became of each; after an error the others are only read."""
        found: list[ScoredCase | DataError | None] = []
        failed = False
        for done, case in enumerate(cases):
            try:
                if failed:
                    self.pair(case)
                    found.append(None)
                else:
                    within = _within(on_volume, done, len(cases))
                    found.append(self.scored(case, predictions, within))
            except DataError as error:
                found.append(error)
                failed = True
            if on_volume is not None:
                on_volume(done + 1, len(cases))
        return found

    def pair(self, case: Case) -> tuple[Volume, NDArray[np.uint8]]:
        """See `read_pair`."""
        with explained_memory(case.image):
            return read_pair(case, self.config, self.predictor.predictor.package)

    def scored(
        self,
        case: Case,
        predictions: Path,
        on_slice: Callable[[int, int], None] | None = None,
    ) -> ScoredCase:
        """Predict and score a volume, and write its labels."""
        with explained_memory(case.image):
            volume, truth = self.pair(case)
            found = self.predictor.predict(
                volume,
                str(case.image),
                xyz=reads_xyz(case.image),
                folder=self.folder,
                on_slice=on_slice,
            )
            result = score_on_grid(found.labels, truth, volume, self.labels, self.measures)
            write_volume(self.prediction_of(case, predictions), volume.with_array(found.labels))
        remarks = (SHEARED,) if volume.sheared else ()
        return ScoredCase(replace(result, judgement=found.judgement), remarks)


def _image(case: Case, config: Infer3dConfig, package: ModelDescription) -> Volume:
    """The volume of a case."""
    files = package.preprocessing.files
    return read_channel_volumes(
        case.image, files, channel=config.channel, series=config.series, key=config.hdf5_key
    )
