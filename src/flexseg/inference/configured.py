"""The three doors of the program: images, tiles and volumes as a config says."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from flexseg.config.findings import Finding
from flexseg.config.infer import Infer3dConfig, InferConfig, TiledInferConfig
from flexseg.config.load import LoadedConfig, input_paths
from flexseg.config.schema import SegmentationConfig
from flexseg.errors import ConfigError
from flexseg.inference.image_files import Areas, infer_images, targets_for
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import is_model
from flexseg.inference.predictor import Predictor
from flexseg.inference.program import OnFile, Outcome, existing
from flexseg.inference.sliding_window import TiledPredictor, as_trained, tiles_of
from flexseg.inference.volumes.volume_files import Description, infer_volumes
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
) -> Outcome[Areas]:
    """Predict images (default: [infer] images_dir) into `output` (default: output_dir).

    Parameters
    ----------
    recursive : those of all folders in the source as well.

    Raises
    ------
    ConfigError : the config names no images and none are given.
    """
    e = loaded.experiment
    place = existing((source, e.infer.images_dir), "infer")
    protected = _claim(output, place, loaded)
    predictor = as_trained(make_predictor(loaded), e.tiledinfer)
    config = _moved(e.infer, output)
    return _images(
        predictor, place, config, e.segmentation, protected, on_image, recursive=recursive
    )


def tiled_infer(
    loaded: LoadedConfig,
    source: Path | None = None,
    output: Path | None = None,
    on_image: OnFile | None = None,
    *,
    recursive: bool = False,
) -> Outcome[Areas]:
    """Predict images (default: images_dir of [tiledinfer] or [infer]) by windows.

    Parameters
    ----------
    recursive : see `infer`.

    Raises
    ------
    ConfigError : the config names no images and none are given, or windows and overlap do not fit.
    """
    e, config = loaded.experiment, loaded.experiment.tiledinfer
    place = existing((source, config.images_dir, e.infer.images_dir), "tiledinfer")
    protected = _claim(output, place, loaded)
    for note in _notes(loaded.findings, "tiledinfer-changes"):
        logger.info("%s", note)
    predictor = make_predictor(loaded).with_threshold(config.probability)
    tiled = TiledPredictor.from_config(predictor, config)
    height, width = tiled.window
    logger.info("Windows of %d x %d pixels that overlap by %d.", width, height, tiled.overlap)
    config = _moved(config, output)
    return _images(tiled, place, config, e.segmentation, protected, on_image, recursive=recursive)


def infer3d(
    loaded: LoadedConfig,
    source: Path | None = None,
    output: Path | None = None,
    *,
    channel: int | None = None,
    series: str | None = None,
    on_volume: OnFile | None = None,
    recursive: bool = False,
) -> Outcome[Description]:
    """Predict volumes (default: [infer3d] images_dir) into `output`, see `infer_volumes`.

    Parameters
    ----------
    channel, series : see `read_volume`; default: those of the config.
    recursive : see `infer`.

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
    predictor = make_predictor(loaded)
    files = predictor.package.preprocessing.files
    cases = volume_cases(place, config.output_dir, recursive=recursive, files=files)
    tiles = tiles_of(predictor, e.tiledinfer, tiled=config.tiled)
    return infer_volumes(
        VolumePredictor(predictor, config, tiles),
        cases,
        protected=[place, *protected],
        on_volume=on_volume,
    )


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
    predictor: Predictor | TiledPredictor,
    source: Path,
    config: InferConfig | TiledInferConfig,
    colors: SegmentationConfig,
    protected: Iterable[Path],
    on_image: OnFile | None,
    *,
    recursive: bool,
) -> Outcome[Areas]:
    binary = predictor.package.labels.binary
    return infer_images(
        predictor,
        source,
        targets_for(config, binary=binary, colorize=colors.colorize),
        alpha=config.overlay_alpha,
        protected=protected,
        on_image=on_image,
        recursive=recursive,
    )


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
