"""Weights from and to the original systems."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from flexseg.config.load import LoadedConfig
from flexseg.config.schema import ModelConfig
from flexseg.errors import DataError
from flexseg.models.package import ModelPackage
from flexseg.models.weights import is_whole_model, read_metadata, save_weights
from flexseg.outputs import explain_os_errors, make_folder, set_aside

logger = logging.getLogger(__name__)


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
            "The file is a model package of flexseg already.",
            "Copy it to where the config expects it, or use it as it is.",
            str(source),
        )
    experiment = loaded.experiment
    package = ModelPackage.load(source, experiment, loaded.path.parent)
    info = {
        "imported_from": source.name,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "whole_model": is_whole_model(source),
    }
    train = experiment.train
    target = output or train.model_dir / train.best_model_file
    _write(target, lambda: package.save(target, info))
    return target


def export_weights(package: ModelPackage, output: Path) -> Path:
    """Write the weights alone, layer by layer in the order of the original network.

    The file can be read by `load_weights` of Keras 2 and by the original systems.
    """
    for difference in differences_to_originals(package.config):
        logger.warning("%s", difference)
    _write(output, lambda: save_weights(package.model, output))
    return output


def differences_to_originals(config: ModelConfig) -> list[str]:
    """Why the original system would not predict the same with exported weights."""
    found = []
    if config.input_normalize not in (True, False):
        found.append(
            f"This network scales its input inside (input_normalize = {config.input_normalize!r}); "
            "the originals do not, so scale the images before."
        )
    size = (config.image_width, config.image_height)
    if size[0] != size[1]:
        found.append(f"The size is {size[0]} x {size[1]}; the originals take square images only.")
    return found


def _write(target: Path, write: Any) -> None:
    make_folder(target.absolute().parent)
    set_aside(target)
    with explain_os_errors(target):
        write()
