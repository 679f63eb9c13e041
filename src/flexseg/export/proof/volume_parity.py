"""Whole volumes by `flexseg infer3d`, with the network and with its export."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flexseg.export.proof.agreement import DiceDifference, dice_difference, dice_of
from flexseg.export.proof.proof_volumes import ProofVolumes
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.volumes.volume_predictor import VolumePredictor, reads_xyz


@dataclass(frozen=True)
class VolumeDice:
    """Mean Dice over the classes of a volume; None where it shows none of them."""

    volume: str
    export: float | None
    flexseg: float | None


@dataclass(frozen=True)
class VolumeParity:
    """How far they agree, after the steps that follow the network in 3-D.

    Attributes
    ----------
    what : the volumes are.
    equal_labels : share of the voxels, as the mean over volumes.
    least_equal_labels : that share in the volume where it is least.
    each : Dice of each volume.
    seconds : per volume, by "export" and "flexseg".
    """

    what: str
    volumes: int
    equal_labels: float
    least_equal_labels: float
    dice: DiceDifference | None
    each: tuple[VolumeDice, ...]
    seconds: dict[str, float]


def compare_volumes(
    volumes: ProofVolumes, exported: Predictor, on_volume: Callable[[int], None] | None = None
) -> VolumeParity:
    """Predict volumes by both.

    Parameters
    ----------
    exported : predicts with the export.
    on_volume : called with the number of volumes that are done.

    Raises
    ------
    DataError : a volume cannot be read.
    """
    tiles = volumes.predictor.tiles
    own = None if tiles is None else TiledPredictor(exported, tiles.window, tiles.overlap)
    by = {
        "export": VolumePredictor(exported, volumes.predictor.config, own),
        "flexseg": volumes.predictor,
    }
    classes = len(exported.package.labels.classes)
    equal: list[float] = []
    scores: dict[str, list[list[float]]] = {name: [] for name in by}
    seconds = dict.fromkeys(by, 0.0)
    for done, case in enumerate(volumes.cases):
        volume, truth = volumes.read(case)
        labels = {}
        for name, predictor in by.items():
            begin = time.perf_counter()
            labels[name] = predictor.labels(volume, str(case.image), xyz=reads_xyz(case.image))
            seconds[name] += time.perf_counter() - begin
            scores[name].append(dice_of(truth, labels[name], classes))
        equal.append(float((labels["export"] == labels["flexseg"]).mean()))
        if on_volume is not None:
            on_volume(done + 1)
    each = [
        VolumeDice(case.id, _mean(export), _mean(flexseg))
        for case, export, flexseg in zip(
            volumes.cases, scores["export"], scores["flexseg"], strict=True
        )
    ]
    return VolumeParity(
        volumes.what,
        len(equal),
        float(np.mean(equal)),
        min(equal),
        dice_difference(scores, [case.group for case in volumes.cases]),
        tuple(each),
        {name: total / len(equal) for name, total in seconds.items()},
    )


def _mean(scores: list[float]) -> float | None:
    known = [score for score in scores if not np.isnan(score)]
    return float(np.mean(known)) if known else None
