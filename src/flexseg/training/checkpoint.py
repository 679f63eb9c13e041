"""The whole state of a training in one file, so that it can go on after any interruption."""

from __future__ import annotations

import json
import math
import os
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.outputs import whole

FILE_NAME = "checkpoint.npz"
# What an array takes in the file beside its numbers, about.
ENTRY_BYTES = 300


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
    # Array by array, so that memory holds one at a time; the result is an ordinary npz.
    with whole(path, size) as part, part.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            _write_array(archive, "progress", np.array(json.dumps(asdict(progress))))
            for name, variables in groups.items():
                for i, variable in enumerate(variables):
                    array = keras.ops.convert_to_numpy(variable)
                    _write_array(archive, f"{name}/{i}", np.asarray(array))
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


def restore(path: Path, model: keras.Model, names: tuple[str, ...]) -> None:
    """Set the variables of the groups `names` ("model", "optimizer", "metrics")."""
    with np.load(path, allow_pickle=False) as archive:
        groups = _groups(model, metrics="metrics" in names)
        for name in names:
            stored = sum(key.startswith(f"{name}/") for key in archive.files)
            if stored != len(groups[name]):
                raise DataError(
                    f"The checkpoint has {stored} {name} variables, the network "
                    f"{len(groups[name])}.",
                    "Resume with the config that it was trained with.",
                    str(path),
                )
            for i, variable in enumerate(groups[name]):
                key = f"{name}/{i}"
                array = archive[key]
                if array.shape != tuple(variable.shape):
                    raise DataError(
                        f"The checkpoint does not fit the network ({key}).",
                        "Resume with the config that it was trained with.",
                        str(path),
                    )
                variable.assign(array)
