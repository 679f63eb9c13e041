"""The volumes by which an export of a network of slices proves itself: their slices, and whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.evaluation.trained_volumes import read_pair, volumes_of_split
from flexseg.export.proof.proof_cases import ProofCase, ProofCases, evenly
from flexseg.files.volumes.volume import Volume
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import tiles_of
from flexseg.inference.volumes.volume_predictor import Cut, VolumePredictor, reads_xyz

# Of more volumes so many are taken, and of more slices of a volume, evenly.
_MOST_VOLUMES, _MOST_SLICES = 20, 10


@dataclass(frozen=True)
class ProofVolumes:
    """Volumes with their labels, and how flexseg predicts them.

    Attributes
    ----------
    what : they are, for people.
    """

    what: str
    cases: Sequence[Case]
    predictor: VolumePredictor

    def read(self, case: Case) -> tuple[Volume, NDArray[np.uint8]]:
        """A volume, and its class ids [z, y, x].

        Raises
        ------
        DataError : see `read_pair`.
        """
        return read_pair(case, self.predictor.config, self.predictor.predictor.package)

    def cuts(self, case: Case) -> tuple[Cut, ...]:
        """The ways in which it is cut into slices."""
        return self.predictor.cuts(reads_xyz(case.image))


@dataclass(frozen=True)
class ProofSlices(ProofCases):
    """Slices of volumes, which are to be compared as well."""

    volumes: ProofVolumes = field(kw_only=True)


def volumes_of_config(loaded: LoadedConfig, predictor: Predictor) -> ProofVolumes:
    """The volumes of the split that a config evaluates.

    Raises
    ------
    ConfigError, DataError : there are none, or files are missing.
    """
    e = loaded.experiment
    split = e.model.evaluation
    splits = find_splits(e.data, only=(split,))
    splits.raise_errors()
    cases = volumes_of_split(e.volume, splits, split, e.dataset.group)
    return ProofVolumes(
        f"{split} volumes of the training's config",
        evenly(cases, _MOST_VOLUMES),
        VolumePredictor(predictor, e.infer3d, tiles_of(predictor, e.tiledinfer)),
    )


def slices_of(volumes: ProofVolumes) -> ProofSlices:
    """Slices of these as the network of slices takes them: cut, amid neighbours, in its grey
    values. Each volume is read for it.

    Raises
    ------
    DataError : a volume cannot be read.
    """
    # A volume's slices follow one another.
    read = lru_cache(maxsize=1)(volumes.read)

    def one(case: Case, cut: Cut, index: int) -> tuple[NDArray, NDArray[np.uint8] | None]:
        volume, truth = read(case)
        grey = volumes.predictor.grey(volume, str(case.image))
        pixels = volumes.predictor.shown(volume, cut, grey)(index)
        labels = cut.slice_view(truth, volume.orientation)[index]
        known = labels if labels.shape == pixels.shape[:2] else None
        as_stored = pixels.dtype in (np.uint8, np.uint16)
        return (pixels if as_stored else pixels.astype(np.float32)), known

    found = []
    for case in volumes.cases:
        volume, _ = read(case)
        for cut in volumes.cuts(case):
            count = len(cut.slice_view(volume.array, volume.orientation))
            found += [
                ProofCase(f"{case.id}, slice {index}", case.group, partial(one, case, cut, index))
                for index in evenly(range(count), _MOST_SLICES)
            ]
    return ProofSlices(f"slices of the {volumes.what}", found, volumes=volumes)
