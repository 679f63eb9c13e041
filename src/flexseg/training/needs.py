"""What a training needs of the machine: room on the disk."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras

from flexseg.config.model import ModelConfig
from flexseg.config.train import TrainConfig
from flexseg.outputs import require_room
from flexseg.training.callbacks.snapshots import snapshot_file
from flexseg.training.checkpoint import ENTRY_BYTES, FILE_NAME

# Arrays of the size of the trained weights that an optimizer keeps.
_MOMENTS = {"Adam": 2, "AdamW": 2, "SGD": 1}
# Names and tables of an HDF5 file per weight, at most.
_HDF5_ENTRY_BYTES = 2000


@dataclass(frozen=True)
class DiskNeeds:
    """Bytes of the files that a training writes; predictions and curves are small beside them.

    Attributes
    ----------
    weights : `best_model.h5`, or one snapshot.
    checkpoint : the whole state.
    snapshots : how many there will be.
    """

    weights: int
    checkpoint: int
    snapshots: int

    @classmethod
    def of(cls, network: keras.Model, config: ModelConfig, train: TrainConfig) -> DiskNeeds:
        """Of a training of a network, which may be one without values."""
        weights = _numbers(network.weights)
        kept = _MOMENTS[config.optimizer] + (train.ema > 0)
        moments = kept * _numbers(network.trainable_weights)
        arrays = len(network.weights) + kept * len(network.trainable_weights)
        return cls(
            4 * weights + _HDF5_ENTRY_BYTES * len(network.weights),
            4 * (weights + moments) + ENTRY_BYTES * arrays,
            train.snapshots if train.snapshots > 1 else 0,
        )

    @property
    def peak(self) -> int:
        """All that lies on the disk at one time, with the checkpoint that replaces the last one."""
        snapshots = 2 * self.snapshots * self.weights  # an ensemble has copies of them
        return self.weights + 2 * self.checkpoint + snapshots

    def require(self, folder: Path, best: str, *, resumed: bool) -> None:
        """Refuse a training whose files the disk has no room for.

        Parameters
        ----------
        folder : of the weights.
        best : file name of the best weights.
        resumed : what already lies there is this training's.

        Raises
        ------
        ResourceError : there is less room.
        """
        file = folder / FILE_NAME
        snapshots = [snapshot_file(folder, n + 1) for n in range(self.snapshots)]
        own = [file, folder / best, *snapshots] if resumed else []
        there = sum(path.stat().st_size for path in own if path.is_file())
        require_room(file, self.checkpoint, max(self.checkpoint, self.peak - there))


def _numbers(weights: Iterable[keras.Variable]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)
