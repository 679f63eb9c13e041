"""Predictions of the same few images after every epoch, to watch the masks change."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from flexseg.backend import Logs
from flexseg.config.infer import InferConfig, TiledInferConfig
from flexseg.config.train import TrainConfig
from flexseg.errors import DataError
from flexseg.files.images import write_png
from flexseg.inference.image_files import find_images
from flexseg.inference.pipeline import read_pixels
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor, as_trained
from flexseg.models.package import ModelPackage
from flexseg.storage.mirror import present

logger = logging.getLogger(__name__)


class EpochChangeInference(keras.callbacks.Callback):
    """Predicts the same few images after every epoch.

    Writes `Epoch_<number from 1>_<image name>.png`, whole images as well as tiled ones.
    """

    def __init__(
        self, predictor: Predictor | TiledPredictor, images: dict[Path, str], folder: Path
    ) -> None:
        super().__init__()
        self.predictor = predictor
        self.folder = folder
        self.images = []
        for path, name in images.items():
            try:
                preprocessing = predictor.package.preprocessing
                pixels = read_pixels(path, preprocessing)
                preprocessing.image(pixels[:2, :2], str(path))
                self.images.append((name, pixels))
            except DataError as error:
                logger.warning("Left out at epoch changes: %s", error)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        palette = self.predictor.package.labels.palette
        for name, _, p in self.predictor.probabilities(self.images):
            write_png(
                self.folder / f"Epoch_{epoch + 1}_{name}.png", self.predictor.labels(p), palette
            )


@dataclass(frozen=True)
class WatchedFolder:
    """Images whose predictions are written after every epoch.

    Attributes
    ----------
    section : of the config that names them, for messages.
    count : of the first images that are taken.
    windows : what they are like where images are predicted by windows.
    tiled : they are, whatever the network was trained on.
    """

    section: str
    source: Path | None
    output: Path
    count: int
    windows: TiledInferConfig
    tiled: bool = False


def watched_folders(
    train: TrainConfig, infer: InferConfig, tiled: TiledInferConfig, *, flex: bool
) -> Iterator[WatchedFolder]:
    """What a config asks for: whole images, windows, both or none.

    Parameters
    ----------
    flex : it is of the multiclass family of the originals, which takes the images of [infer] for
        windows too.
    """
    count = train.num_infer_images
    whole = WatchedFolder("infer", infer.images_dir, train.epoch_change_infer_dir, count, tiled)
    if train.epoch_change_infer:
        yield whole
    if train.epoch_change_tiled_infer:
        windows = replace(whole, output=train.epoch_change_tiled_infer_dir, tiled=True)
        if tiled.images_dir is not None and not flex:
            windows = replace(windows, section="tiledinfer", source=tiled.images_dir)
        yield windows


def epoch_change(
    folders: Iterable[WatchedFolder], package: ModelPackage, batch_size: int
) -> list[EpochChangeInference]:
    """The callbacks that predict the images of some folders after every epoch."""
    predictor = Predictor(package, batch_size)
    callbacks = []
    for folder in folders:
        if images := _watched(folder, predictor.package.preprocessing.files):
            way = as_trained(predictor, folder.windows, tiled=folder.tiled)
            callbacks.append(EpochChangeInference(way, images, folder.output))
    return callbacks


def _watched(folder: WatchedFolder, files: int) -> dict[Path, str]:
    """The first images of a folder with their names, none if there are none.

    Parameters
    ----------
    files : see `find_images`.
    """
    source = folder.source
    if not folder.count:
        return {}
    if source is None or not present(source).is_dir():
        logger.warning(
            "[%s] images_dir (%s) does not exist: no predictions at epoch changes.",
            folder.section,
            source,
        )
        return {}
    try:
        return dict(list(find_images(source, files=files).names.items())[: folder.count])
    except DataError as error:
        logger.warning("No predictions at epoch changes: %s", error)
        return {}
