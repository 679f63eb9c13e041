"""Predictions of the same few images after every epoch, to watch the masks change."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras

from flexseg.batches.neighbours import read_with_neighbours
from flexseg.config.legacy import family_of_network
from flexseg.config.load import LoadedConfig
from flexseg.errors import DataError
from flexseg.files.images import write_png
from flexseg.inference.image_files import images_of
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.models.package import ModelPackage

logger = logging.getLogger(__name__)


class EpochChangeInference(keras.callbacks.Callback):
    """Predicts the same few images after every epoch.

    Writes `Epoch_<number from 1>_<image name>.png`, whole images as well as tiled ones.
    """

    def __init__(
        self, predictor: Predictor | TiledPredictor, images: list[Path], folder: Path
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.folder = folder
        self.images = []
        for path in images:
            try:
                preprocessing = predictor.package.preprocessing
                pixels = read_with_neighbours(path, preprocessing.neighbours)
                preprocessing.image(pixels[:2, :2], str(path))
                self.images.append((path.stem, pixels))
            except DataError as error:
                logger.warning("Left out at epoch changes: %s", error)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        palette = self.predictor.package.labels.palette
        for stem, _, p in self.predictor.probabilities(self.images):
            write_png(
                self.folder / f"Epoch_{epoch + 1}_{stem}.png", self.predictor.labels(p), palette
            )


def epoch_change(loaded: LoadedConfig, package: ModelPackage) -> list[EpochChangeInference]:
    """The predictions that a config asks for: of whole images, by windows, or none."""
    e, train = loaded.experiment, loaded.experiment.train
    predictor = Predictor(package, e.eval.batch_size)
    callbacks = []
    if train.epoch_change_infer and (
        images := _watched("infer", e.infer.images_dir, train.num_infer_images)
    ):
        callbacks.append(EpochChangeInference(predictor, images, train.epoch_change_infer_dir))
    if train.epoch_change_tiled_infer:
        section, source = "infer", e.infer.images_dir
        flex = loaded.legacy and (
            family_of_network(e.model.model, e.model.num_classes) == "multiclass"
        )
        # The multiclass family of the originals takes the images of [infer] here too.
        if e.tiledinfer.images_dir is not None and not flex:
            section, source = "tiledinfer", e.tiledinfer.images_dir
        if images := _watched(section, source, train.num_infer_images):
            tiled = TiledPredictor.from_config(predictor, e.tiledinfer)
            callbacks.append(
                EpochChangeInference(tiled, images, train.epoch_change_tiled_infer_dir)
            )
    return callbacks


def _watched(section: str, source: Path | None, count: int) -> list[Path]:
    """The first `count` images of a folder, none if there are none."""
    if not count:
        return []
    if source is None or not source.is_dir():
        logger.warning(
            "[%s] images_dir (%s) does not exist: no predictions at epoch changes.",
            section,
            source,
        )
        return []
    try:
        return images_of(source)[:count]
    except DataError as error:
        logger.warning("No predictions at epoch changes: %s", error)
        return []
