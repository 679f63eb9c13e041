"""Inference by windows with the trained model of a config: images larger than the network."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from flexseg.config.load import LoadedConfig, input_paths
from flexseg.errors import ConfigError
from flexseg.inference import image_folder as folder
from flexseg.inference.loading import make_predictor
from flexseg.inference.sliding_window import TiledPredictor

logger = logging.getLogger(__name__)


def tiled_infer(
    loaded: LoadedConfig,
    source: Path | None = None,
    output: Path | None = None,
    on_image: Callable[[float, int], None] | None = None,
) -> folder.Inference:
    """Predict `source` (default: images_dir of [tiledinfer] or [infer]) by windows.

    Raises
    ------
    ConfigError : the config names no images and none are given, or windows and overlap do not fit.
    """
    e = loaded.experiment
    config = e.tiledinfer
    source = source or config.images_dir or e.infer.images_dir
    if source is None:
        raise ConfigError(
            "There is nothing to predict.", "Give --input PATH, or set [tiledinfer] images_dir."
        )
    if not source.exists():
        raise ConfigError("There is no such file or folder.", "Check the path.", str(source))
    if output is not None:
        elsewhere = {"output_dir": output.absolute(), "merged_dir": None, "colorized_dir": None}
        config = config.model_copy(update=elsewhere)
    for finding in loaded.findings:
        if finding.code == "tiledinfer-changes":
            logger.info("%s %s", finding.where, finding.what)
    predictor = make_predictor(loaded)
    if config.threshold is not None:
        predictor.package = replace(predictor.package, threshold=config.threshold / 255)
    tiled = TiledPredictor.from_config(predictor, config)
    targets = folder.targets_for(
        config, binary=predictor.package.labels.binary, colorize=e.segmentation.colorize
    )
    height, width = tiled.window
    logger.info("Windows of %d x %d pixels that overlap by %d.", width, height, tiled.overlap)
    return folder.infer(
        tiled,
        source,
        targets,
        alpha=config.overlay_alpha,
        protected=input_paths(e, loaded.path),
        on_image=on_image,
    )
