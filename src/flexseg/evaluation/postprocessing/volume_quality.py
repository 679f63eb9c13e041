"""The quality of whole volumes whose slices are cut along several axes, which are averaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from flexseg.config.schema import Experiment
from flexseg.dataset.division.splits import Splits
from flexseg.evaluation.postprocessing.expected_quality import calibrated
from flexseg.evaluation.postprocessing.steps import counts_of
from flexseg.evaluation.postprocessing.unseen_cases import Source
from flexseg.evaluation.trained_volumes import read_pair, volumes_of_split
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import tiles_of
from flexseg.inference.trust.conformal import ClassCalibration
from flexseg.inference.trust.signal import Signal
from flexseg.inference.volumes.volume_files import explained_memory
from flexseg.inference.volumes.volume_predictor import VolumePredictor, reads_xyz


def averages_axes(e: Experiment) -> bool:
    """Whether `[infer3d]` averages axes, and the config names whole volumes to learn from."""
    named = e.volume.images_dir is not None and e.volume.masks_dir is not None
    return named and e.infer3d.average_axes and not e.infer3d.slice_normalize


def quality_of_axes(
    sources: Sequence[Source], e: Experiment
) -> tuple[dict[int, ClassCalibration], tuple[str, ...]]:
    """Class id -> calibration of volumes that are predicted as `[infer3d]` says; and the axes.

    Parameters
    ----------
    sources : predictors with all their settings, and slices of volumes that each has not seen.

    Raises
    ------
    DataError : a volume or its labels are missing or damaged.
    """
    groups: list[str] = []
    signals: list[Signal] = []

    def pairs() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        for predictor, slices in sources:
            seeing = _as_volumes(predictor, e)
            splits = Splits({"valid": tuple(slices)})
            for case in volumes_of_split(e.volume, splits, "valid", e.dataset.group):
                with explained_memory(case.image):
                    volume, truth = read_pair(case, e.infer3d, predictor.package)
                    xyz = reads_xyz(case.image)
                    p = seeing.predict(volume, str(case.image), xyz=xyz, signals=True)
                if p.signal is not None:
                    groups.append(case.group)
                    signals.append(p.signal)
                    yield p.labels, truth

    first = sources[0][0]
    counts = counts_of(pairs(), len(first.package.labels.classes))
    return calibrated(signals, groups, counts, members=True), _as_volumes(first, e).axes


def _as_volumes(predictor: Predictor, e: Experiment) -> VolumePredictor:
    tiles = tiles_of(predictor, e.tiledinfer, tiled=e.infer3d.tiled)
    return VolumePredictor(predictor, e.infer3d, tiles)
