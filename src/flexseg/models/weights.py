"""Weights of a network into the HDF5 layout that the original systems read, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.hdf5 import written_hdf5
from flexseg.model_file.hdf5_weights import METADATA, read_weights
from flexseg.outputs import whole


def weighted_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers that own weights, in the model's order; seeds of dropout are no weights."""
    return [layer for layer in model.layers if layer.weights]


def load_weights(model: keras.Model, path: Path) -> None:
    """Set the weights of `model` from a Keras 2 HDF5 file, by their order.

    Raises
    ------
    DataError : count or shapes differ; the message names the first layer that does not fit.
    """
    stored = read_weights(path)
    own = [(layer, weight) for layer in weighted_layers(model) for weight in layer.weights]
    for (layer, weight), (name, array) in zip(own, stored, strict=False):
        if tuple(weight.shape) != array.shape:
            raise DataError(
                f"The weights are of another network: layer {layer.name!r} has "
                f"{weight.name} {tuple(weight.shape)}, the file has {name} {array.shape}.",
                "Give the config with which these weights were trained.",
                str(path),
            )
    if len(own) != len(stored):
        longer = own[len(stored)][0].name if len(own) > len(stored) else stored[len(own)][0]
        raise DataError(
            f"The file has {len(stored)} weights, but the network has {len(own)}; the first "
            f"without a partner is {longer}.",
            "Give the config with which these weights were trained.",
            str(path),
        )
    for (_, weight), (_, array) in zip(own, stored, strict=True):
        weight.assign(array)


def save_weights(
    model: keras.Model,
    path: Path,
    metadata: dict[str, Any] | None = None,
    arrays: Mapping[str, NDArray] | None = None,
) -> None:
    """Write the weights in the layout that the original systems read, whole or not at all.

    Parameters
    ----------
    metadata : JSON types, stored beside the weights (see `read_metadata`), or None.
    arrays : stored beside them too, see `read_arrays`.

    Raises
    ------
    ResourceError : the place cannot be written to.
    """
    text = None if metadata is None else json.dumps(metadata)
    size = weights_file_size(model) + len(text or "")
    size += sum(array.nbytes for array in (arrays or {}).values())
    with whole(path, size) as part, written_hdf5(part) as file:
        for place, weight in _laid_out(file, model):
            place[...] = keras.ops.convert_to_numpy(weight)
        if text is not None:
            file.create_dataset(METADATA, data=text)
        for name, array in (arrays or {}).items():
            file.create_dataset(f"{METADATA}_{name}", data=array)


def weights_file_size(model: keras.Model) -> int:
    """Bytes that `save_weights` writes of a model, which may be one without values.

    Names and tables of a layer take about 2 KiB, more than the weights of a tiny network.
    """
    with h5py.File("weights.h5", "w", driver="core", backing_store=False, block_size=1024) as file:
        values = sum(
            4 * math.prod(weight.shape) for _, weight in _laid_out(file, model, sized=False)
        )
        file.flush()
        return file.id.get_filesize() + values


def _laid_out(
    file: h5py.File, model: keras.Model, *, sized: bool = True
) -> Iterator[tuple[h5py.Dataset, keras.Variable]]:
    """Write the names, and give each weight with its place, which takes no room until written.

    Parameters
    ----------
    sized : False: places of one number, as a config may ask for sizes that no file has.
    """
    file.attrs["keras_version"] = b"2.10.0"
    file.attrs["backend"] = b"tensorflow"
    names = [layer.name for layer in model.layers]
    _set_names(file.attrs, "layer_names", names)
    for layer in model.layers:
        group = file.create_group(layer.name)
        keys = _weight_names(layer)
        _set_names(group.attrs, "weight_names", keys)
        for key, weight in zip(keys, layer.weights, strict=True):
            shape = tuple(weight.shape) if sized else (1,) * len(weight.shape)
            yield group.create_dataset(key, shape, str(weight.dtype)), weight


def _weight_names(layer: keras.layers.Layer) -> list[str]:
    """A name for each weight of a layer; sublayers of one name need a number."""
    paths = [weight.path for weight in layer.weights]
    return [
        f"{path}:0" if paths.count(path) == 1 else f"{path}_{i}:0" for i, path in enumerate(paths)
    ]


def _set_names(attributes: Any, key: str, names: list[str]) -> None:
    """Store a list attribute, split where HDF5's limit of 64 KiB per attribute asks for it."""
    array = np.array([name.encode() for name in names]) if names else np.zeros(0, "S1")
    parts = max(1, -(-array.nbytes // 60_000))
    if parts == 1:
        attributes[key] = array
        return
    for part, chunk in enumerate(np.array_split(array, parts)):
        attributes[f"{key}{part}"] = chunk
