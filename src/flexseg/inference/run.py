"""Inference with the trained model of a config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flexseg import backend
from flexseg.config.load import LoadedConfig
from flexseg.errors import ConfigError
from flexseg.inference import folder
from flexseg.inference.predictor import Predictor
from flexseg.models.package import ModelPackage, threshold


def load_trained(loaded: LoadedConfig) -> ModelPackage:
    """The trained model of a config, in the precision that the config asks for.

    Raises
    ------
    DataError : there are no weights, or they are of another network.
    """
    train = loaded.experiment.train
    backend.prepare(train.precision)
    package = ModelPackage.load(
        train.model_dir / train.best_model_file, loaded.experiment, loaded.path.parent
    )
    if "infer.threshold" in loaded.sources:
        # The threshold may be chosen after training; all else is part of the weights.
        return replace(package, threshold=threshold(loaded.experiment))
    return package


def make_predictor(loaded: LoadedConfig) -> Predictor:
    """A predictor for the trained model of a config."""
    e = loaded.experiment
    blur = e.infer.ksize if e.infer.blur else None
    return Predictor(load_trained(loaded), e.eval.batch_size, blur)


def infer(
    loaded: LoadedConfig,
    source: Path | None = None,
    output: Path | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> folder.Inference:
    """Predict `source` (default: [infer] images_dir) into `output` (default: output_dir).

    Raises
    ------
    ConfigError : the config names no images and none are given.
    """
    e = loaded.experiment
    source = source or e.infer.images_dir
    if source is None:
        raise ConfigError(
            "There is nothing to predict.", "Give --input PATH, or set [infer] images_dir."
        )
    if not source.exists():
        raise ConfigError("There is no such file or folder.", "Check the path.", str(source))
    config = e.infer
    if output is not None:
        config = config.model_copy(update={"output_dir": output.absolute(), "merged_dir": None})
    targets = folder.targets_for(config, binary=e.is_binary, colorize=e.segmentation.colorize)
    return folder.infer(
        make_predictor(loaded), source, targets, alpha=config.overlay_alpha, on_image=on_image
    )
