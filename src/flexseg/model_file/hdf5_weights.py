"""The HDF5 layout of Keras 2, in which the weights of networks are stored, and its additions.

Only arrays, names and texts are read; the model description that a whole-model file also holds is
never executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.hdf5 import check_stored, open_hdf5
from flexseg.files.json_file import parse_json

METADATA = "flexseg"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _names(attributes: Any, key: str) -> list[str]:
    """A list attribute; Keras splits long ones into key0, key1, ..."""
    if key in attributes:
        return [_text(v) for v in attributes[key]]
    parts, names = 0, []
    while f"{key}{parts}" in attributes:
        names += [_text(v) for v in attributes[f"{key}{parts}"]]
        parts += 1
    return names


def read_weights(path: Path) -> list[tuple[str, NDArray]]:
    """(name, array) of every weight of a Keras 2 HDF5 file, in the file's order.

    Raises
    ------
    DataError : the file is missing, damaged, or of another layout.
    """
    with _open(path) as file:
        group = file.get("model_weights", file)
        layers = _names(group.attrs, "layer_names")
        if not layers:
            raise DataError(
                "This HDF5 file holds no weights in the layout of Keras 2.",
                "Give the best_model.h5 of an original system or of flexseg.",
                str(path),
            )
        return [
            (name, _array(group[layer][name], path))
            for layer in layers
            for name in _names(group[layer].attrs, "weight_names")
        ]


def _array(node: Any, path: Path) -> NDArray:
    """An array of the file, if the file has all of it."""
    if not isinstance(node, h5py.Dataset):
        raise ValueError("a weight is not an array")
    check_stored(node, path)
    return np.asarray(node)


def is_whole_model(path: Path) -> bool:
    """Whether a Keras 2 file holds the network's description beside the weights.

    Raises
    ------
    DataError : the file cannot be read.
    """
    with _open(path) as file:
        return "model_weights" in file


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """The file, open for reading; whatever its damage raises becomes a DataError."""
    if not path.is_file():
        raise DataError(
            "This is a folder." if path.is_dir() else "There is no such weight file.",
            "Check the path; `flexseg train CONFIG` makes the weights of a config.",
            str(path),
        )
    try:
        with open_hdf5(path) as file:
            yield file
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(
            f"The file is not an HDF5 file, or is damaged ({error}).",
            "Copy it again, or train again.",
            str(path),
        ) from None


def read_metadata(path: Path) -> dict[str, Any] | None:
    """What `save_weights` stored beside the weights; None in files of the original systems.

    Raises
    ------
    DataError : the file cannot be read.
    """
    with _open(path) as file:
        if METADATA not in file:
            return None
        node = file[METADATA]
        if not isinstance(node, h5py.Dataset) or node.shape != ():
            raise ValueError("its description of the network is not text")
        check_stored(node, path)
        content = parse_json(_text(node[()]))
        if not isinstance(content, dict):
            raise ValueError("its description of the network cannot be understood")
    return content


def write_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """Put other text in the place of what `save_weights` stored beside the weights, which stay.

    Parameters
    ----------
    path : of the only program that has the file; it is changed in its place.
    metadata : JSON types.
    """
    with h5py.File(path, "r+") as file:
        del file[METADATA]
        file.create_dataset(METADATA, data=json.dumps(metadata))


def read_arrays(path: Path) -> dict[str, NDArray]:
    """Name -> array that `save_weights` stored beside the weights; empty in other files.

    Raises
    ------
    DataError : the file cannot be read.
    """
    prefix = f"{METADATA}_"
    with _open(path) as file:
        return {
            name.removeprefix(prefix): _array(file[name], path)
            for name in file
            if name.startswith(prefix) and isinstance(file[name], h5py.Dataset)
        }


def stored_values(path: Path) -> int:
    """How many numbers a file of weights holds.

    Raises
    ------
    DataError : the file cannot be read.
    """
    counts: list[int] = []
    with _open(path) as file:
        file.visititems(lambda _, node: counts.append(int(getattr(node, "size", 0) or 0)))
    return sum(counts)
