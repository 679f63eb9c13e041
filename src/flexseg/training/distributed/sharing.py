"""Devices that share a training, of this process or of several: all that the trainer asks them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg.backend import versions
from flexseg.batches.batch_plan import BatchPlan, Share
from flexseg.config.findings import amount
from flexseg.config.load import LoadedConfig, path_fields, section_models
from flexseg.errors import ConfigError
from flexseg.training.distributed.variant import in_subfolder

# Files travel in pieces, which the memory of a device has room for.
_PIECE = 64 * 2**20


@dataclass(frozen=True)
class Sharing:
    """Who shares the batches of a training.

    Every device has the whole network, and sees an equal part of every batch; gradients, statistics
    of batch normalisation and losses are those of the whole batch, as on one device.

    Attributes
    ----------
    devices : of all processes.
    process : number of this one, of `processes`; the first writes the files and decides.
    private : folder for what another process than the first writes for itself.
    began : called when the training begins.
    stopping : whether this process was asked to stop the training.
    """

    devices: int = 1
    process: int = 0
    processes: int = 1
    private: Path | None = None
    began: Callable[[], None] = lambda: None
    stopping: Callable[[], bool] = lambda: False

    @classmethod
    def of_one_process(cls, batch_size: int | str) -> Sharing:
        """Of a process alone: all its GPUs, or as many as share a batch equally.

        Parameters
        ----------
        batch_size : `[train] batch_size`.
        """
        if keras.backend.backend() != "jax":
            return cls()
        import jax

        devices: int = jax.local_device_count()
        if isinstance(batch_size, int):
            devices = max(n for n in range(1, devices + 1) if batch_size % n == 0)
        return cls(devices)

    @property
    def leads(self) -> bool:
        """This is the process that writes and decides."""
        return self.process == 0

    @property
    def share(self) -> Share:
        """The part of every batch that this process makes."""
        return Share(self.process, self.processes, self.devices)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Within the block, variables are on all devices, and batches are divided among them."""
        if self.devices == 1:
            yield
            return
        devices = keras.distribution.list_devices()[: self.devices]
        with keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False).scope():
            yield

    def own(self, loaded: LoadedConfig) -> LoadedConfig:
        """The config as this process trains it: all but the first write into their own folders.

        Raises
        ------
        ConfigError : it, or what trains it, is another one than that of the first process.
        """
        if self.processes > 1:
            self.require_same("The computer", _devices())
            self.require_same("The installation", _packages())
            self.require_same("The config", _values(loaded))
        if self.private is None:
            return loaded
        experiment = in_subfolder(loaded.experiment, str(self.private))
        quiet = {
            "epoch_change_infer": False,
            "epoch_change_tiled_infer": False,
            "tensorboard": False,
            "mlflow": "",
        }
        train = experiment.train.model_copy(update=quiet)
        return replace(loaded, experiment=experiment.model_copy(update={"train": train}))

    def require_equal_parts(self, batch_size: int) -> None:
        """Raise ConfigError where the devices cannot share batches equally."""
        if batch_size % self.devices == 0:
            return
        below = batch_size // self.devices * self.devices
        sizes = " or ".join(str(size) for size in (below, below + self.devices) if size)
        raise ConfigError(
            f"{amount(self.devices, 'device')} cannot share batches of {batch_size} equally.",
            f'Set batch_size = {sizes} (it counts the images of all devices together), or "auto".',
            "[train] batch_size",
        )

    def sentence(self, batch_size: int) -> str:
        """What the training tells of it."""
        each = amount(batch_size // self.devices, "image")
        of = f" in {self.processes} processes" if self.processes > 1 else ""
        return (
            f"{amount(self.devices, 'device')}{of} share every batch of {batch_size}: {each} each. "
            "Batch size and learning rate stay those of the config."
        )

    def require_same(self, name: str, values: Mapping[str, Any]) -> None:
        """Refuse values that differ from those of the first process.

        Parameters
        ----------
        name : of what has them.
        values : of JSON types.

        Raises
        ------
        ConfigError : some do; raised where they do.
        """
        if self.processes == 1:
            return
        first = json.loads(self.broadcast(json.dumps(values).encode()))
        own = json.loads(json.dumps(values))
        keys = sorted(key for key in own.keys() | first.keys() if own.get(key) != first.get(key))
        if not keys:
            return
        key = keys[0]
        more = f" (and in {', '.join(keys[1:6])})" if keys[1:] else ""
        raise ConfigError(
            f"{name} of process {self.process} differs from that of process 0 in {key}: "
            f"{_short(own.get(key))} instead of {_short(first.get(key))}{more}.",
            "Start all processes with the same command, config, data and installation, on devices "
            "of one kind and number.",
        )

    def pass_on(self, files: Sequence[Path]) -> None:
        """Give the other processes copies of files of the first one, under their own paths."""
        if self.processes == 1:
            return
        for file in files:
            there = self.leads and file.is_file()
            content = self.broadcast(file.read_bytes() if there else b"")
            if content and not self.leads:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)

    def agreed(self, number: int) -> int:
        """The number of the first process."""
        return number if self.processes == 1 else int(self.broadcast(str(number).encode()))

    def broadcast(self, content: bytes) -> bytes:
        """What the first process gives here."""
        # In bytes, as JAX has no numbers beyond 2^31.
        told = np.frombuffer(len(content).to_bytes(8, "little"), np.uint8)
        size = int.from_bytes(self._first(told).tobytes(), "little")
        pieces = []
        for start in range(0, size, _PIECE):
            length = min(_PIECE, size - start)
            piece = np.zeros(length, np.uint8)
            if self.leads:
                piece[:] = np.frombuffer(content, np.uint8, length, start)
            pieces.append(self._first(piece).tobytes())
        return b"".join(pieces)

    def _first(self, array: NDArray[Any]) -> NDArray[Any]:
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(array))


def _packages() -> dict[str, Any]:
    """The versions of what trains; computers may have other kernels and processors."""
    own = ("system", "device")
    return {name: version for name, version in versions().items() if name not in own}


def _devices() -> dict[str, Any]:
    """What every process has to have, as each makes an equal part of every batch."""
    import jax

    return {"devices": jax.default_backend(), "number of devices": jax.local_device_count()}


def _values(loaded: LoadedConfig) -> dict[str, Any]:
    """The values of a config but for its paths, which may differ from computer to computer."""
    paths = {name: {key for key, *_ in path_fields(s)} for name, s in section_models().items()}
    return {
        f"[{section}] {key}": value
        for section, values in loaded.experiment.model_dump(mode="json").items()
        for key, value in values.items()
        if key not in paths.get(section, ())
    }


def cut_padding(network: keras.Model, share: Share, plan: BatchPlan) -> None:
    """Let validation see no more than the cases that there are.

    The last batch of a validation is made longer, so that devices can share it; within the step,
    where all of it is at hand, it gets its own length again.
    """
    if share.devices == 1:
        return
    length = len(plan.indices(0, len(plan) - 1))
    padded = share.padded(length, plan.batch_size)
    step = partial(type(network).test_step, network)

    def test_step(state: Any, data: Any) -> Any:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        if y.shape[0] == padded:
            x, y = x[:length], y[:length]
        return step(state, keras.utils.pack_x_y_sample_weight(x, y, weight))

    network.test_step = test_step
    network.test_function = None  # that of batches of another size


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
