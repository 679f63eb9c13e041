"""What a training needs of the machine: memory, room on the disk, time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import keras

from flexseg import backend
from flexseg.config.model import ModelConfig
from flexseg.config.schema import DatasetConfig
from flexseg.config.train import TrainConfig
from flexseg.errors import ConfigError, FlexsegError, ResourceError
from flexseg.machine import count_text, size_text, total_memory, used_memory
from flexseg.models.build import build_model
from flexseg.models.inspection import inspect_model
from flexseg.models.weights import weights_file_size
from flexseg.outputs import require_room
from flexseg.training import batch_size
from flexseg.training.callbacks.snapshots import snapshot_file
from flexseg.training.checkpoint import ENTRY_BYTES, FILE_NAME
from flexseg.training.memory import free_memory
from flexseg.training.supervision import supervised

# Arrays of the size of the trained weights that an optimizer keeps.
_MOMENTS = {"Adam": 2, "AdamW": 2, "SGD": 1}
# What a file of weights tells of classes, preprocessing and options, of usual data.
_METADATA_BYTES = 8 * 1024
# Memory of a step per byte of activations in tenths, as measured on networks of the registry (11 to
# 16), and what no engine does without. Whole numbers, as a config may ask for any size.
_USUAL, _LEAST = 14, 5
# Of Python with an engine, where the system does not tell; of a process that prepares batches.
_PROCESS, _WORKER = 900 * 2**20, 150 * 2**20
# A backward pass computes twice what a forward pass does.
_FORWARD_AND_BACKWARD = 3
# Of the speed of one large convolution, what a whole network reaches (0.3 to 0.8 as measured).
_EFFICIENCY = 0.5
# What a step takes beside its arithmetic.
_STEP_SECONDS = 0.01
_CALIBRATION_SECONDS = 0.4
_BEYOND_ANY_MACHINE = 10**40


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
        copies = _copies(config, train)
        arrays = len(network.weights) + copies * len(network.trainable_weights)
        return cls(
            weights_file_size(network) + _METADATA_BYTES,
            4 * (weights + copies * _numbers(network.trainable_weights)) + ENTRY_BYTES * arrays,
            train.snapshots if train.snapshots > 1 else 0,
        )

    @property
    def peak(self) -> int:
        """All that lies on the disk at one time, with the checkpoint that replaces the last one."""
        return self._peak_of(1)

    def _peak_of(self, folds: int) -> int:
        copied = folds if folds > 1 else self.snapshots  # into an ensemble
        files = folds * (self.weights + self.checkpoint) + self.snapshots * self.weights
        return files + copied * self.weights + self.checkpoint

    def require(self, folders: Sequence[Path], best: str, *, resumed: bool) -> None:
        """Refuse trainings whose files the disk has no room for.

        Parameters
        ----------
        folders : of the weights; several are those of the folds of a cross-validation.
        best : file name of the best weights.
        resumed : what already lies there is of these trainings.

        Raises
        ------
        ResourceError : there is less room.
        """
        size, name = max((self.checkpoint, FILE_NAME), (self.weights, best))
        names = [FILE_NAME, best] if resumed else []
        own = [folder / name for folder in folders for name in names]
        if resumed:
            own += [snapshot_file(folders[0], n + 1) for n in range(self.snapshots)]
        there = sum(path.stat().st_size for path in own if path.is_file())
        require_room(folders[0] / name, size, max(size, self._peak_of(len(folders)) - there))


@dataclass(frozen=True)
class Needs:
    """What a training needs, by estimate.

    Attributes
    ----------
    batch : images per step.
    memory : bytes that it takes beside `process`, the program itself, and decoded images.
    least_memory : bytes that it takes in any case.
    image : bytes of a decoded image and its mask, of which `cached` are kept at most.
    limit : bytes of memory that there are at most; None where nobody tells.
    free : bytes that are left at present; None where nobody tells.
    flop : of a forward pass of one image.
    dtype : that it computes in.
    steps : of an epoch; None: as many as show each case.
    """

    parameters: int
    batch: int
    memory: int
    least_memory: int
    image: int
    cached: int
    process: int
    limit: int | None
    free: int | None
    disk: DiskNeeds
    flop: int
    dtype: str
    steps: int | None

    def require_memory(self) -> None:
        """Refuse a training that cannot fit into memory.

        Raises
        ------
        ResourceError : names what it takes and what there is.
        """
        if self.limit is not None and self.least_memory > self.limit:
            raise _too_large(self.parameters, self.batch, self.least_memory, self.limit)

    def memory_of(self, cases: int) -> int:
        """Bytes at the peak of a training on so many cases."""
        return self.process + self.memory + min(self.cached, cases * self.image)

    def epoch_seconds(self, cases: int, validated: int) -> float:
        """About how long an epoch takes, by the speed of this machine just now."""
        trained = cases if self.steps is None else self.steps * self.batch
        operations = self.flop * (_FORWARD_AND_BACKWARD * trained + validated)
        computed = min(operations, _BEYOND_ANY_MACHINE) / (_EFFICIENCY * speed(self.dtype))
        return computed + _STEP_SECONDS * min(trained, _BEYOND_ANY_MACHINE) / self.batch


def disk_needs_of(config: ModelConfig, train: TrainConfig) -> DiskNeeds:
    """What a training of a network writes; none of its weights is allocated.

    Raises
    ------
    ConfigError : the network cannot be built.
    """
    return DiskNeeds.of(_without_values(config, train), config, train)


def needs_of(config: ModelConfig, train: TrainConfig, dataset: DatasetConfig) -> Needs:
    """What a training of a network of the registry needs; none of its weights is allocated.

    Raises
    ------
    ConfigError : the network cannot be built.
    ResourceError : one batch of images is larger than the memory.
    """
    limit = total_memory() if backend.accelerator() is None else free_memory()
    pixels = config.image_width * config.image_height
    wanted = 1 if train.batch_size == "auto" else train.batch_size
    # As they come, as floats, and the scores of the classes.
    maps = 4 * pixels * wanted * (2 * config.image_channels + config.num_classes)
    if limit is not None and maps > limit:
        raise _too_large(None, wanted, maps, limit)
    with backend.same_dtype_policy():
        keras.config.set_dtype_policy(backend.resolve_precision(train.precision))
        dtype = str(keras.config.dtype_policy().compute_dtype)
        network = _without_values(config, train)
        facts = inspect_model(network)
    batch = wanted
    if train.batch_size == "auto":
        most = batch_size.MOST_ON_CPU
        batch = batch_size.choose(facts, most, drawn=True, fits=lambda _: True).size
    weights, trained = _numbers(network.weights), _numbers(network.trainable_weights)
    copies = _copies(config, train)
    # Values, gradients, and what the optimizer keeps; a file of weights is made in memory.
    kept = 4 * (weights + (1 + copies) * trained)
    activations = facts.activation_bytes * batch
    image = pixels * (config.image_channels + 1)
    workers = dataset.workers * (image * batch + _WORKER * (dataset.worker_type == "process"))
    return Needs(
        facts.parameters,
        batch,
        kept + 8 * weights + activations * _USUAL // 10 + workers,
        kept + activations * _LEAST // 10 + workers,
        image,
        int(dataset.cache_gb * 2**30) if dataset.cache in ("auto", "memory") else 0,
        used_memory() or _PROCESS,
        limit,
        free_memory(),
        DiskNeeds.of(network, config, train),
        facts.flop,
        dtype,
        train.epoch_steps or (train.steps_per_epoch if config.generator else None),
    )


def _too_large(parameters: int | None, batch: int, needed: int, limit: int) -> ResourceError:
    """The error about a network, or its images, that no memory here holds."""
    network = "" if parameters is None else f"a network of {count_text(parameters)} parameters "
    return ResourceError(
        f"Training {network}with batches of {count_text(batch)} takes at least "
        f"{size_text(needed)} of memory; there is {size_text(limit)}.",
        "Choose smaller images (model.image_width, image_height), a smaller model.base_filters or "
        "num_layers, a smaller train.batch_size or fewer dataset.workers.",
    )


def _without_values(config: ModelConfig, train: TrainConfig) -> keras.Model:
    try:
        with keras.StatelessScope(initialize_variables=False):
            return supervised(build_model(config), config, train.deep_supervision)
    except FlexsegError:
        raise
    except Exception as error:  # sizes that no layer can have fail where they stumble
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"The network cannot be built at this size ({reason[:200]}).",
            "Choose smaller values in [model].",
            "[model]",
        ) from None


def _copies(config: ModelConfig, train: TrainConfig) -> int:
    return _MOMENTS[config.optimizer] + (train.ema > 0)


def _numbers(weights: Iterable[keras.Variable]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


@cache
def speed(dtype: str) -> float:
    """Floating-point operations per second of a large convolution on this machine, just now."""
    channels, size = 32, 128
    image = keras.ops.ones((1, size, size, channels), dtype)
    kernel = keras.ops.ones((3, 3, channels, channels), dtype)
    fastest, end = math.inf, time.perf_counter() + _CALIBRATION_SECONDS
    while time.perf_counter() < end:
        began = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.conv(image, kernel, padding="same")[0, 0, 0])
        fastest = min(fastest, time.perf_counter() - began)
    return 2 * 9 * channels**2 * size**2 / fastest
