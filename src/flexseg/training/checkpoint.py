"""The whole state of a training in one file, so that it can go on after any interruption.

After the end, what the file of the best weights holds as well is left out.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.outputs import whole

FILE_NAME = "checkpoint.npz"
# What an array takes in the file beside its numbers, about.
ENTRY_BYTES = 300
# The entry that tells what the file of the best weights holds instead.
_ELSEWHERE = "best"


@dataclass
class Progress:
    """Where a training stands.

    Attributes
    ----------
    epoch : the epoch to go on with, from 0.
    batch : batches of it that are already done.
    history : metric -> value per finished epoch.
    callbacks : name -> attributes of the callbacks that remember something.
    signature : what must be equal to go on (model, data, optimizer).
    times : per finished epoch the seconds of its parts, see `ProgressLine`.
    seconds : training time so far, its starts included.
    """

    epoch: int = 0
    batch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    signature: dict[str, Any] = field(default_factory=dict)
    times: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def _groups(model: keras.Model, *, metrics: bool) -> dict[str, list[Any]]:
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    if metrics:
        groups["metrics"] = model.metrics_variables
    return groups


def save(path: Path, model: keras.Model, progress: Progress) -> None:
    """Write model, optimizer, random state and progress, whole or not at all."""
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()
    groups = _groups(model, metrics=progress.batch > 0)
    size = sum(4 * math.prod(v.shape) + ENTRY_BYTES for group in groups.values() for v in group)

    def arrays() -> Iterator[tuple[str, NDArray]]:
        yield "progress", np.array(json.dumps(asdict(progress)))
        for name, variables in groups.items():
            for i, variable in enumerate(variables):
                yield f"{name}/{i}", np.asarray(keras.ops.convert_to_numpy(variable))

    _write(path, arrays(), size)


def _write(path: Path, arrays: Iterator[tuple[str, NDArray]], size: int) -> None:
    # Array by array, so that memory holds one at a time; the result is an ordinary npz.
    with whole(path, size) as part, part.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays:
                _write_array(archive, name, array)
        file.flush()
        os.fsync(file.fileno())


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, array, allow_pickle=False)


def read_progress(path: Path) -> Progress:
    """The progress alone.

    Raises
    ------
    DataError : there is no checkpoint, or it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return Progress(**json.loads(str(archive["progress"])))
    except FileNotFoundError:
        raise DataError(
            "There is no checkpoint to resume from.", "Train without --resume.", str(path)
        ) from None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"The checkpoint cannot be read ({error}).", "Train without --resume.", str(path)
        ) from None


def shorten(path: Path, best: Path) -> None:
    """Leave out what the file of the best weights holds too, after the end of a training.

    These are the weights where the last epoch was the best one. The optimizer's moments are in no
    other file, and further epochs need them.

    Parameters
    ----------
    best : beside the checkpoint, if there is such a file.
    """
    if not best.is_file():
        return
    held = {_digest(array): i for i, (_, array) in enumerate(read_weights(best))}
    with np.load(path, allow_pickle=False) as archive:
        names = [name for name in archive.files if "/" in name]
        digests = {name: _digest(archive[name]) for name in names}
    left_out = {name: (held[d], d) for name, d in digests.items() if d in held}
    if not left_out:
        return

    def arrays() -> Iterator[tuple[str, NDArray]]:
        yield _ELSEWHERE, np.array(json.dumps({"file": best.name, "arrays": left_out}))
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                if name not in left_out and name != _ELSEWHERE:
                    yield name, archive[name]

    _write(path, arrays(), 0)


def _digest(array: NDArray) -> str:
    head = f"{array.dtype.str} {array.shape}".encode()
    content = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16)
    content.update(head)
    return content.hexdigest()


def _elsewhere(archive: Any, path: Path) -> dict[str, NDArray]:
    """Name -> array that `shorten` has left out of a checkpoint."""
    if _ELSEWHERE not in archive.files:
        return {}
    about = json.loads(str(archive[_ELSEWHERE]))
    best = path.with_name(about["file"])
    held = [array for _, array in read_weights(best)]
    found = {}
    for name, (index, digest) in about["arrays"].items():
        if index >= len(held) or _digest(held[index]) != digest:
            raise DataError(
                "The finished training cannot be continued: its best weights have changed since.",
                "Restore the file as the training left it, or train without --resume.",
                str(best),
            )
        found[name] = held[index]
    return found


def resume(path: Path, model: keras.Model, progress: Progress) -> None:
    """Set model and optimizer, and see to it that the checkpoint is whole before any step.

    Better weights will take the place of those that it may rely on.
    """
    restore(path, model, ("model", "optimizer"))
    with np.load(path, allow_pickle=False) as archive:
        short = _ELSEWHERE in archive.files
    if short:
        save(path, model, progress)


def restore(path: Path, model: keras.Model, names: tuple[str, ...]) -> None:
    """Set the variables of the groups `names` ("model", "optimizer", "metrics").

    Raises
    ------
    DataError : the checkpoint is of another network, or of best weights that were replaced.
    """
    with np.load(path, allow_pickle=False) as archive:
        groups = _groups(model, metrics="metrics" in names)
        others = _elsewhere(archive, path)
        for name in names:
            stored = sum(key.startswith(f"{name}/") for key in (*archive.files, *others))
            if stored != len(groups[name]):
                raise DataError(
                    f"The checkpoint has {stored} {name} variables, but the network has "
                    f"{len(groups[name])}.",
                    "Resume with the config that it was trained with.",
                    str(path),
                )
            for i, variable in enumerate(groups[name]):
                key = f"{name}/{i}"
                array = others[key] if key in others else archive[key]
                if array.shape != tuple(variable.shape):
                    raise DataError(
                        f"The checkpoint does not fit the network ({key}).",
                        "Resume with the config that it was trained with.",
                        str(path),
                    )
                variable.assign(array)
