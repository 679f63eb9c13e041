"""Predictions of arrays, files and volumes, in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np

from flexseg.config.infer import Infer3dConfig, TiledInferConfig
from flexseg.errors import FlexsegError
from flexseg.files.large_images import LARGE_PIXELS
from flexseg.inference.model_inputs import ImageInput, VolumeInput
from flexseg.inference.pipeline import (
    ALONE_PIXELS,
    PredictedImage,
    UnreadableImage,
    images_by_windows,
    tell_shrunk,
    whole_images,
)
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.prediction import Prediction
from flexseg.inference.results.prediction_table import Judgement, counted
from flexseg.inference.sliding_window import TiledPredictor, as_trained, tiles_of
from flexseg.inference.trust.input_check import tell_unknown, warn_of_foreign
from flexseg.inference.trust.temperature import scaled, scaled_planes
from flexseg.inference.volumes.volume_files import explained_memory
from flexseg.inference.volumes.volume_predictor import OnSlice, VolumePredictor, reads_xyz

logger = logging.getLogger(__name__)

# What of their sections changes labels.
_OF_WINDOWS = {"split_size", "overlapping", "threshold"}
_OF_VOLUMES = {
    "channel", "series", "hdf5_key", "average_axes", "tiled", "slice_shape_order",
    "slice_normalize", "slice_resize", "slice_rotation",
}  # fmt: skip


@dataclass(frozen=True)
class SourcePredictor:
    """Predicts what it is given, as `flexseg infer`, `tiled-infer` and `infer3d` predict files.

    Attributes
    ----------
    windows : what images are seen through where they are tiled.
    volumes : how volumes are cut into slices.
    """

    predictor: Predictor
    windows: TiledInferConfig = field(default_factory=TiledInferConfig)
    volumes: Infer3dConfig = field(default_factory=Infer3dConfig)

    def describe(self) -> dict[str, object]:
        """What predictions depend on beside the weights, plain JSON types."""
        windows = self.windows.model_dump(mode="json", include=_OF_WINDOWS)
        volumes = self.volumes.model_dump(mode="json", include=_OF_VOLUMES)
        return self.predictor.describe() | {"windows": windows, "volumes": volumes}

    def predictions(
        self,
        inputs: Iterable[ImageInput | VolumeInput | FlexsegError],
        *,
        probabilities: bool = False,
        tiled: bool = False,
        channel: int | None = None,
        series: str | None = None,
        on_progress: OnSlice | None = None,
    ) -> Iterator[Prediction]:
        """Predict in order; what is asked for next is read meanwhile.

        Memory: about two batches of images, or one volume.

        Parameters
        ----------
        inputs : of errors each is raised in its turn.
        probabilities : keep them.
        tiled : see images, and slices of volumes, at their own scale by windows.
        channel, series : of volumes, see `read_volume`.
        on_progress : called with (done, total) after each slice of a volume.
        """
        for kind, group in groupby(inputs, key=type):
            if kind is ImageInput:
                images = (item for item in group if isinstance(item, ImageInput))
                yield from self._images(images, probabilities, tiled)
                continue
            for item in group:
                if isinstance(item, FlexsegError):
                    raise item
                if isinstance(item, VolumeInput):
                    yield self._volume(item, probabilities, tiled, channel, series, on_progress)

    def _images(
        self, images: Iterable[ImageInput], probabilities: bool, tiled: bool
    ) -> Iterator[Prediction]:
        predictor = self.predictor
        preprocessing = predictor.package.preprocessing
        if tiled:
            predictor = predictor.with_threshold(self.windows.probability)
        seeing = as_trained(predictor, self.windows, tiled=tiled)
        if isinstance(seeing, TiledPredictor):
            found = images_by_windows(
                seeing,
                images,
                lambda image: image.opened(preprocessing, LARGE_PIXELS),
                header=lambda image: image.header,
            )
        else:
            found = whole_images(
                seeing,
                images,
                lambda image: image.opened(preprocessing, ALONE_PIXELS),
                lambda image: image.pixel_count,
                header=lambda image: image.header,
            )
        shrunk = 0
        for image in found:
            if isinstance(image, UnreadableImage):
                raise image.error
            shrunk += image.shrunk
            yield _collected(seeing, image, probabilities)
        tell_shrunk(shrunk)

    def _volume(
        self,
        item: VolumeInput,
        probabilities: bool,
        tiled: bool,
        channel: int | None,
        series: str | None,
        on_progress: OnSlice | None,
    ) -> Prediction:
        c, predictor, path = self.volumes, self.predictor, item.content
        tiles = tiles_of(predictor, self.windows, tiled=tiled or c.tiled)
        with explained_memory(Path(str(item))):
            volume = item.read(
                predictor.package.preprocessing.files,
                channel=c.channel if channel is None else channel,
                series=series or c.series,
                key=c.hdf5_key,
            )
            found = VolumePredictor(predictor, c, tiles).predict(
                volume,
                str(item),
                xyz=isinstance(path, Path) and reads_xyz(path),
                keep=probabilities,
                on_slice=on_progress,
            )
            p = found.probabilities
            _tell(predictor, str(item), found.judgement)
            return Prediction(
                found.labels,
                predictor.package.labels,
                volume.voxel_size if item.placed else item.spacing,
                scaled_planes(p, predictor.trust.temperature)
                if p is not None and probabilities
                else None,
                str(item),
                volume.with_array(found.labels),
                found.judgement,
            )


def _tell(predictor: Predictor | TiledPredictor, name: str, judgement: Judgement) -> None:
    if not any(home is not None for home in predictor.homes):
        tell_unknown(predictor.package.config.model)
    warn_of_foreign({name: judgement.input}, "input")


def _collected(
    predictor: Predictor | TiledPredictor, found: PredictedImage[ImageInput], keep: bool
) -> Prediction:
    height, width, _ = found.image.shape
    labels = np.empty((height, width), np.uint8)
    classes = predictor.package.config.num_classes
    probabilities = np.empty((height, width, classes), np.float32) if keep else None
    for first, p in found.slabs:
        labels[first : first + len(p)] = predictor.labels(p)
        if probabilities is not None:
            probabilities[first : first + len(p)] = scaled(p, predictor.trust.temperature)
    labels = predictor.postprocess(labels)
    quality = predictor.trust.statements(found.signal.signal, counted(labels), 2)
    judgement = Judgement(quality, found.check)
    _tell(predictor, str(found.item), judgement)
    return Prediction(
        labels,
        predictor.package.labels,
        found.item.spacing,
        probabilities,
        str(found.item),
        judgement=judgement,
    )
