"""Inference with the trained model of a config."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flexseg import backend
from flexseg.config.load import LoadedConfig, input_paths
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError
from flexseg.files.preprocess import Preprocessing
from flexseg.inference import image_folder as folder
from flexseg.inference.engines.opening import open_engine
from flexseg.inference.ensemble import EnsemblePredictor, is_ensemble, model_file, read_members
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.predictor import Predictor
from flexseg.inference.tuned import Choice, place_of, read_choice
from flexseg.models.package import ModelPackage, threshold

logger = logging.getLogger(__name__)


def load_trained(loaded: LoadedConfig, file: Path | None = None) -> ModelPackage:
    """The trained model of a config, in the precision that the config asks for.

    Parameters
    ----------
    file : of a member of an ensemble; without it what `[train] best_model_file` names.

    Raises
    ------
    DataError : there are no weights, or they are of another network.
    """
    train = loaded.experiment.train
    backend.prepare(train.precision)
    file = file or train.model_dir / train.best_model_file
    package = ModelPackage.load(file, loaded.experiment, loaded.path.parent)
    # Codes are no part of the weights either, but a class keeps those that it was trained with.
    own = LabelMap.from_experiment(loaded.experiment)
    package = replace(package, labels=package.labels.with_codes(own))
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


def make_predictor(loaded: LoadedConfig, *, tuned: bool = True) -> Predictor:
    """A predictor for the trained model of a config, or for its ensemble.

    What `flexseg tune-postprocessing` has chosen for the model counts, unless the config sets
    the same itself.

    Parameters
    ----------
    tuned : False: only what the config says.

    Raises
    ------
    ConfigError : a view of [infer] tta or a class of [postprocess] does not fit the model, or the
        engine is not installed.
    DataError : there are no weights, or files are damaged.
    """
    e = loaded.experiment
    blur = e.infer.ksize if e.infer.blur else None
    file = model_file(loaded)
    ensemble = is_ensemble(file)
    files = read_members(file) if ensemble else [file]
    packages = [load_trained(loaded, f) for f in files]
    choice = chosen_for(loaded, packages[0].labels, tuned=tuned)
    if choice.threshold is not None:
        packages = [replace(package, threshold=choice.threshold) for package in packages]
    size = e.eval.batch_size
    engines = [
        open_engine(
            package,
            f,
            setting=e.infer.engine,
            precision=e.train.precision,
            int8=e.infer.int8,
        )
        for package, f in zip(packages, files, strict=True)
    ]
    predictor = (
        EnsemblePredictor(packages, size, blur, engines)
        if ensemble
        else Predictor(packages[0], size, blur, engines[0])
    )
    return predictor.treated(choice.tta, choice.postprocessing, choice.evidence)


def chosen_for(loaded: LoadedConfig, labels: LabelMap, *, tuned: bool = True) -> Choice:
    """Threshold, views and postprocessing of the trained model, and a line in the log on them.

    Raises
    ------
    ConfigError : [postprocess] names a class that does not exist.
    DataError : the file of the tuned choice is damaged.
    """
    e = loaded.experiment
    file = model_file(loaded)
    own = Postprocessing.from_config(e.postprocess, labels)
    choice = Choice(None, tuple(e.infer.tta), {2: own, 3: own} if own.steps else {})
    found = read_choice(file, labels) if tuned else None
    if found is None:
        return choice
    given = {
        key.partition(".")[0] if key.startswith("postprocess.") else key for key in loaded.sources
    }
    used = []
    if found.threshold is not None and "infer.threshold" not in given:
        choice = replace(choice, threshold=found.threshold)
        used.append(f"threshold {found.threshold:g}")
    if found.tta and "infer.tta" not in given:
        choice = replace(choice, tta=found.tta)
        used.append(f"tta {', '.join(found.tta)}")
    chosen = any(p.steps for p in found.postprocessing.values())
    if chosen and "postprocess" not in given:
        choice = replace(choice, postprocessing=found.postprocessing)
        used.append("postprocessing")
    if used:
        choice = replace(choice, evidence=found.evidence)
    if not (chosen or found.tta or found.threshold is not None):
        return choice
    overruled = sorted(given & {"infer.threshold", "infer.tta", "postprocess"})
    split = "folds" if found.evidence.get("split") == "folds" else "validation set"
    logger.info(
        "%s: %s%s.",
        place_of(file).name,
        f"{', '.join(used)} chosen on the {split}" if used else "nothing is used",
        f"; the config sets {', '.join(overruled)} itself" if overruled else "",
    )
    return choice


def infer(
    loaded: LoadedConfig,
    source: Path | None = None,
    output: Path | None = None,
    on_image: Callable[[float, int], None] | None = None,
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
