"""The three doors of the program: images, tiles and volumes as a config says."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from flexseg.config.findings import Finding
from flexseg.config.infer import Infer3dConfig, InferConfig, TiledInferConfig
from flexseg.config.load import LoadedConfig, input_paths
from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.execution.mapping import Workers
from flexseg.execution.work_manifest import key_of
from flexseg.inference.image_files import (
    Areas,
    ImageJob,
    ImageNotes,
    infer_images,
    targets_for,
)
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import is_model, model_file
from flexseg.inference.predictor import Predictor
from flexseg.inference.program import OnFile, Outcome, Spread, existing
from flexseg.inference.sliding_window import TiledPredictor, as_trained, tiles_of
from flexseg.inference.tuned import digest_of, files_of, place_of
from flexseg.inference.volumes.volume_files import (
    Description,
    VolumeJob,
    VolumeNotes,
    infer_volumes,
)
from flexseg.inference.volumes.volume_predictor import VolumePredictor
from flexseg.inference.volumes.volume_sources import volume_cases
from flexseg.own_results import claim_folder

logger = logging.getLogger(__name__)

Config = TypeVar("Config", InferConfig, TiledInferConfig)
_OLD_WAY = (
    "Slices are cut, rotated and scaled as in the original systems (defaults of [infer3d] in old "
    "configs); with slice_shape_order = None, [volume] applies instead."
)


def infer(
    loaded: LoadedConfig,
    source: Path | None = None,
    output: Path | None = None,
    on_image: OnFile | None = None,
    *,
    recursive: bool = False,
    workers: Workers | None = None,
) -> Outcome[Areas, ImageNotes]:
    """Predict images (default: [infer] images_dir) into `output` (default: output_dir).

    Parameters
    ----------
    recursive : those of all folders in the source as well.
    workers : that do it; a run that was interrupted goes on. None: this process does.

    Raises
    ------
    ConfigError : the config names no images and none are given.
    """
    e = loaded.experiment
    place = existing((source, e.infer.images_dir), "infer")
    protected = _claim(output, place, loaded)
    config = _moved(e.infer, output)
    return _images(loaded, config, place, protected, on_image, recursive=recursive, workers=workers)


def tiled_infer(
    loaded: LoadedConfig,
    source: Path | None = None,
    output: Path | None = None,
    on_image: OnFile | None = None,
    *,
    recursive: bool = False,
    workers: Workers | None = None,
) -> Outcome[Areas, ImageNotes]:
    """Predict images (default: images_dir of [tiledinfer] or [infer]) by windows.

    Parameters
    ----------
    recursive, workers : see `infer`.

    Raises
    ------
    ConfigError : the config names no images and none are given, or windows and overlap do not fit.
    """
    e, config = loaded.experiment, loaded.experiment.tiledinfer
    place = existing((source, config.images_dir, e.infer.images_dir), "tiledinfer")
    protected = _claim(output, place, loaded)
    for note in _notes(loaded.findings, "tiledinfer-changes"):
        logger.info("%s", note)
    config = _moved(config, output)
    return _images(loaded, config, place, protected, on_image, recursive=recursive, workers=workers)


def infer3d(
    loaded: LoadedConfig,
    source: Path | None = None,
    output: Path | None = None,
    *,
    channel: int | None = None,
    series: str | None = None,
    on_volume: OnFile | None = None,
    recursive: bool = False,
    workers: Workers | None = None,
) -> Outcome[Description, VolumeNotes]:
    """Predict volumes (default: [infer3d] images_dir) into `output`, see `infer_volumes`.

    Parameters
    ----------
    channel, series : see `read_volume`; default: those of the config.
    recursive, workers : see `infer`.

    Raises
    ------
    ConfigError : there is nothing to predict, or outputs would lie on inputs.
    DataError : there is no volume at all, or no trained model.
    """
    e = loaded.experiment
    config = _of_volumes(e.infer3d, output, channel, series)
    place = existing((source, config.images_dir, e.infer.images_dir), "infer3d")
    protected = _claim(output, place, loaded)
    if config.slice_shape_order is not None:
        logger.info("%s", next(iter(_notes(loaded.findings, "infer3d-changes")), _OLD_WAY))
    predictor = _volume_predictor(loaded, config)
    files = predictor.predictor.package.preprocessing.files
    cases = volume_cases(place, config.output_dir, recursive=recursive, files=files)
    return infer_volumes(
        predictor,
        cases,
        protected=[place, *protected],
        on_volume=on_volume,
        spread=None
        if workers is None
        else Spread(
            workers,
            partial(_volume_job, sent(loaded), config),
            _key(loaded, config, predictor.predictor, place),
        ),
    )


def _volume_predictor(loaded: LoadedConfig, config: Infer3dConfig) -> VolumePredictor:
    predictor = make_predictor(loaded)
    tiles = tiles_of(predictor, loaded.experiment.tiledinfer, tiled=config.tiled)
    return VolumePredictor(predictor, config, tiles)


def _volume_job(loaded: LoadedConfig, config: Infer3dConfig) -> VolumeJob:
    """The work of `infer3d` in a worker."""
    return VolumeJob(_volume_predictor(loaded, config))


def _claim(output: Path | None, source: Path, loaded: LoadedConfig) -> list[Path]:
    """The paths that no output may take the place of, once `output` is none of them."""
    inputs = input_paths(loaded.experiment, loaded.path)
    if output is not None:
        claim_folder(output, (source, *inputs))
    elif is_model(loaded.path):
        raise ConfigError("A model on its own has no folder for results.", "Give --output FOLDER.")
    return inputs


def _notes(findings: Iterable[Finding], code: str) -> list[str]:
    """What loading an old config noted about a section."""
    return [f"{f.where} {f.what}" for f in findings if f.code == code]


def _images(
    loaded: LoadedConfig,
    config: InferConfig | TiledInferConfig,
    source: Path,
    protected: Iterable[Path],
    on_image: OnFile | None,
    *,
    recursive: bool,
    workers: Workers | None,
) -> Outcome[Areas, ImageNotes]:
    job = _image_job(loaded, config)
    if isinstance(job.predictor, TiledPredictor) and isinstance(config, TiledInferConfig):
        height, width = job.predictor.window
        overlap = job.predictor.overlap
        logger.info("Windows of %d x %d pixels that overlap by %d.", width, height, overlap)
    return infer_images(
        job.predictor,
        source,
        job.targets,
        alpha=job.alpha,
        protected=protected,
        on_image=on_image,
        recursive=recursive,
        spread=None
        if workers is None
        else Spread(
            workers,
            partial(_image_job, sent(loaded), config),
            _key(loaded, config, job.predictor, source),
        ),
    )


def _image_job(loaded: LoadedConfig, config: InferConfig | TiledInferConfig) -> ImageJob:
    """The work of `infer` or `tiled-infer`, without its images."""
    e, predictor = loaded.experiment, make_predictor(loaded)
    seeing = (
        TiledPredictor.from_config(predictor.with_threshold(config.probability), config)
        if isinstance(config, TiledInferConfig)
        else as_trained(predictor, e.tiledinfer)
    )
    binary, colorize = seeing.package.labels.binary, e.segmentation.colorize
    targets = targets_for(config, binary=binary, colorize=colorize)
    return ImageJob(seeing, targets, config.overlay_alpha)


def sent(loaded: LoadedConfig) -> LoadedConfig:
    """A config that can be pickled also where its network is of the user's own code."""
    e = loaded.experiment
    plain = ModelConfig.model_validate(e.model.model_dump(exclude_unset=True))
    return replace(loaded, experiment=e.model_copy(update={"model": plain}))


def _key(
    loaded: LoadedConfig,
    config: InferConfig | TiledInferConfig | Infer3dConfig,
    predictor: Predictor | TiledPredictor,
    source: Path,
) -> str:
    """What tells an inference from all that may have other results."""
    own = {"source": str(source), "config": config.model_dump(mode="json")}
    return key_of(own | parts_of_key(loaded, predictor))


def parts_of_key(loaded: LoadedConfig, predictor: Predictor | TiledPredictor) -> dict[str, object]:
    """What the predictions of the trained model of a config depend on, see `key_of`."""
    model = model_file(loaded)
    choice = place_of(model)
    return {
        "experiment": loaded.experiment.model_dump(mode="json"),
        "model": digest_of([*files_of(model), *([choice] if choice.is_file() else [])]),
        "prediction": predictor.describe(),
    }


def _moved(config: Config, output: Path | None) -> Config:
    if output is None:
        return config
    elsewhere = {"output_dir": output.absolute(), "merged_dir": None, "colorized_dir": None}
    return config.model_copy(update=elsewhere)


def _of_volumes(
    config: Infer3dConfig, output: Path | None, channel: int | None, series: str | None
) -> Infer3dConfig:
    changes: dict[str, object] = {}
    if output is not None:
        changes["output_dir"] = output.absolute()
        if config.video_dir is not None:
            changes["video_dir"] = output.absolute() / config.video_dir.name
    if channel is not None:
        changes["channel"] = channel
    if series is not None:
        changes["series"] = series
    return config.model_copy(update=changes)
