"""Weights from and to the original systems."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from flexseg.config.legacy_keys import ORIGINAL_INPUT_SCALE
from flexseg.config.load import LoadedConfig
from flexseg.config.model import ModelConfig
from flexseg.errors import DataError
from flexseg.model_file.hdf5_weights import is_whole_model, read_metadata
from flexseg.models.architecture import MODELS
from flexseg.models.package import ModelPackage
from flexseg.models.weights import save_weights
from flexseg.one_writer import exclusive, exclusive_file
from flexseg.outputs import set_aside, try_outputs
from flexseg.own_results import begins_with, claim_file

logger = logging.getLogger(__name__)

DOES_WITH_PIXELS = {
    None: "divides pixels by 255 (true) or takes them as they are (false)",
    True: "divides pixels by 255 (true)",
    False: "takes pixels as 0..255 (false)",
}
# What HDF5 files begin with.
_HDF5 = b"\x89hdf"
# Counts of classes for which the original networks have a single output channel.
ONE_CHANNEL: dict[str, range] = {
    "UNet3Plus": range(2, 256),
    "EfficientNetB7UNet": range(2, 256),
    "EfficientUNet": range(2, 3),
}


def import_weights(source: Path, loaded: LoadedConfig, output: Path | None = None) -> Path:
    """Make a model package of a Keras 2 weight file (`best_model.h5` of the original systems).

    Parameters
    ----------
    source : HDF5 file of weights or of a whole model; only its arrays and names are read.
    loaded : the config that the weights were trained with.
    output : the package [default: where the config expects the trained model].

    Raises
    ------
    DataError : the file is damaged, is a package already, or does not fit the config; the
        message names the first layer that differs.
    """
    if read_metadata(source) is not None:
        raise DataError(
            "The file is already a model package of flexseg.",
            "Copy it to where the config expects it, or use it as it is.",
            str(source),
        )
    experiment = loaded.experiment
    train = experiment.train
    target = output or train.model_dir / train.best_model_file
    key = "[train] best_model_file" if output is None else "--output"
    try_outputs([(key, target)])
    claim_file(target, "weights file (HDF5)", begins_with(_HDF5), key)
    package = ModelPackage.load(source, experiment, loaded.path.parent)
    for difference in differences_to_originals(package.config):
        logger.warning("%s", difference)
    if not loaded.legacy:
        logger.warning(
            "The weights work as trained only if input_normalize (now %r), resize_interpolation "
            "(%r) and color_order (%r) are as in their training; the config of the original "
            "project has these values.",
            experiment.model.input_normalize,
            experiment.dataset.resize_interpolation,
            experiment.image.color_order,
        )
    info = {
        "imported_from": source.name,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "whole_model": is_whole_model(source),
    }
    # A model of a config is what its trainings write, too.
    with nullcontext() if output is not None else exclusive(target.parent):
        _write(target, lambda: package.save(target, info))
    return target


def export_weights(package: ModelPackage, output: Path) -> Path:
    """Write the weights alone, layer by layer in the order of the original network.

    The file can be read by `load_weights` of Keras 2 and by the original systems.
    """
    try_outputs([("--output", output)])
    claim_file(output, "weights file (HDF5)", begins_with(_HDF5))
    for difference in differences_to_originals(package.config):
        logger.warning("%s", difference)
    _write(output, lambda: save_weights(package.model, output))
    return output


def differences_to_originals(config: ModelConfig) -> list[str]:
    """Why the original network would not predict the same with these weights."""
    name = MODELS.canonical(config.model) if ":" not in config.model else config.model
    if ":" in name or not any(a.lower().startswith("tensorflow") for a in MODELS.aliases(name)):
        return [f"The original systems have no {name}."]
    found = []
    scale = ORIGINAL_INPUT_SCALE.get(name.lower())
    fits = config.input_normalize in ((True, False) if scale is None else (scale,))
    if not fits:
        does = DOES_WITH_PIXELS[scale]
        found.append(
            f"input_normalize is {config.input_normalize!r} here; the original {name} {does}."
        )
    multiple = MODELS.get(name).multiple(config)
    size = (config.image_width, config.image_height)
    if size[0] != size[1] or size[0] % multiple:
        found.append(
            f"The size is {size[0]} x {size[1]}, but the original takes squares with sides that "
            f"are multiples of {multiple}."
        )
    if config.num_classes in ONE_CHANNEL.get(name, ()):
        found.append(
            f"The original {name} has one output channel, but this one has {config.num_classes}: "
            "its weights do not fit."
        )
    if name == "U2Net" and config.num_classes > 1 and config.multiclass_activation != "sigmoid":
        found.append("The original U2Net ends in a sigmoid, but this one in a softmax.")
    return found


def _write(target: Path, write: Callable[[], None]) -> None:
    with exclusive_file(target):
        set_aside(target)
        write()
