"""Inference with the trained model of a config."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flexseg import backend
from flexseg.config.load import LoadedConfig, input_paths
from flexseg.data.labels import LabelMap
from flexseg.data.preprocess import Preprocessing
from flexseg.errors import ConfigError
from flexseg.inference import folder
from flexseg.inference.ensemble import EnsemblePredictor, is_ensemble, read_members
from flexseg.inference.predictor import Predictor
from flexseg.models.package import ModelPackage, threshold

logger = logging.getLogger(__name__)


def load_trained(loaded: LoadedConfig, file: Path | None = None) -> ModelPackage:
    """The trained model of a config, in the precision that the config asks for.

    Parameters
    ----------
    file : of a member of an ensemble; without it the config's model.

    Raises
    ------
    DataError : there are no weights, or they are of another network.
    """
    train = loaded.experiment.train
    backend.prepare(train.precision)
    file = file or train.model_dir / train.best_model_file
    package = ModelPackage.load(file, loaded.experiment, loaded.path.parent)
    _warn_of_differences(loaded, package)
    if "infer.threshold" in loaded.sources:
        # The threshold may be chosen after training; all else is part of the weights.
        return replace(package, threshold=threshold(loaded.experiment))
    return package


def _warn_of_differences(loaded: LoadedConfig, package: ModelPackage) -> None:
    """Network, classes and preprocessing are part of the weights; the config cannot change them."""
    e = loaded.experiment
    own = {
        "model": (package.config.model_dump(), e.model.model_dump()),
        "preprocessing": (
            package.preprocessing.as_dict(),
            Preprocessing.from_experiment(e).as_dict(),
        ),
        "mask": (package.labels.as_dict(), LabelMap.from_experiment(e).as_dict()),
    }
    training_only = {"loss", "metrics", "learning_rate", "optimizer", "clipvalue", "generator"}
    changed = [
        f"{section}.{key}"
        for section, (trained, asked) in own.items()
        for key in trained
        if trained[key] != asked[key] and key not in training_only | {"evaluation", "show_summary"}
    ]
    if changed:
        logger.warning(
            "The config differs from what the weights were trained with in %s; the trained values "
            "are used.",
            ", ".join(changed),
        )


def make_predictor(loaded: LoadedConfig) -> Predictor:
    """A predictor for the trained model of a config, or for its ensemble."""
    e = loaded.experiment
    blur = e.infer.ksize if e.infer.blur else None
    file = e.train.model_dir / e.train.best_model_file
    if is_ensemble(file):
        members = [load_trained(loaded, member) for member in read_members(file)]
        return EnsemblePredictor(members, e.eval.batch_size, blur)
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
    predictor = make_predictor(loaded)
    targets = folder.targets_for(
        config, binary=predictor.package.labels.binary, colorize=e.segmentation.colorize
    )
    return folder.infer(
        predictor,
        source,
        targets,
        alpha=config.overlay_alpha,
        protected=input_paths(e, loaded.path),
        on_image=on_image,
    )
