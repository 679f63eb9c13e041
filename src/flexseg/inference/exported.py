"""Exports of flexseg, predicted as packages are.

An export takes images as they are stored and gives probabilities at their size: what prepares
images leaves them as they are, and nothing is left to be resized.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.errors import ConfigError, DataError
from flexseg.files.large_images import Regions
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.engines.onnx_runtime import OnnxEngine
from flexseg.inference.engines.opening import Engine, installed
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.predictor import Predictor
from flexseg.inference.trust.conformal import Trust
from flexseg.machine import pip_install
from flexseg.model_file.export_description import ExportDescription, PixelType
from flexseg.model_file.model_description import ModelDescription

_DIMENSIONS = {"2d": 2, "3d": 3}
# As engines name them.
_PRECISIONS = {"float32": "f32", "float16": "f16", "int8": "int8"}
# By how much whole numbers may be off that were floats in between.
_OFF = 1e-2


@dataclass(frozen=True)
class AsStored(Preprocessing):
    """What an export does itself: images [H, W, C] keep their size and channels.

    Their values are on the scale of 8 bits, see `Preprocessing.on_scale`, or as they are stored
    where the export has a window.
    """

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> AsStored:
        """Of an export that prepares its images so."""
        return cls(**{f.name: getattr(preprocessing, f.name) for f in fields(preprocessing)})

    def image(self, pixels: NDArray, where: str = "image") -> NDArray:
        found = pixels.shape[2]
        grey_or_colour = self.channels in (1, 3) and not self.neighbours
        if found not in ((1, 3) if grey_or_colour else (self.channels,)):
            raise DataError(
                f"The image has {amount(found, 'channel')}, but the export takes "
                f"{'1 or 3' if grey_or_colour else self.channels}.",
                "Give images like those of its training.",
                where,
            )
        return pixels if self.window is not None else self.on_scale(pixels)

    def image_by_rows(self, image: Regions, where: str = "image") -> NDArray:
        return self.image(image.rows(slice(0, image.shape[0])), where)

    def at_size(self, values: NDArray) -> NDArray:
        return values

    def labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return labels


class ExportEngine:
    """Computes an export: images [B, H, W, C] as `AsStored` gives them.

    Parameters
    ----------
    graph : images [B, H, W, C] of the export's type to probabilities [B, H, W, classes].
    """

    name = "onnx"

    def __init__(
        self, graph: Callable[[NDArray], NDArray[np.float32]], description: ExportDescription
    ) -> None:
        self._graph = graph
        self.precision = _PRECISIONS[description.precision]
        self._pixels: PixelType = description.pixels
        self._scaled = description.scaled

    def predict(self, batch: NDArray) -> NDArray[np.float32]:
        """Probabilities [B, H, W, classes] at the images' size.

        Raises
        ------
        DataError : the export takes 8 bits, and the images have more.
        """
        if self._pixels == "float32":
            return self._graph(batch)
        factor = np.float32(257 if self._pixels == "uint16" and self._scaled else 1)
        values = batch.astype(np.float32) * factor
        whole = np.rint(values)
        top = np.iinfo(self._pixels).max
        if np.abs(values - whole).max() > _OFF or whole.min() < 0 or whole.max() > top:
            raise DataError(
                f"The export takes {self._pixels}, but the image has other values.",
                "Export the model again with --pixels float32 (or uint16), or convert the images.",
            )
        return self._graph(whole.astype(self._pixels))


class ExportedPredictor(Predictor):
    """Predicts with an export.

    Parameters
    ----------
    package : what the export says of its model.
    description : all that it says.
    """

    def __init__(
        self, package: ModelDescription, description: ExportDescription, engine: Engine
    ) -> None:
        # What is too faint the graph itself does not stretch.
        as_stored = AsStored.of(package.preprocessing)
        stored = replace(package, preprocessing=as_stored, least_contrast=())
        super().__init__(stored, 1, None, engine)
        ids = {c.name: c.id for c in package.labels.classes}
        self.postprocessing = {
            _DIMENSIONS[key]: Postprocessing.from_dict(steps, ids)
            for key, steps in description.postprocess.items()
        }
        self.trust = replace(Trust(), temperature=description.temperature)
        self._averaged = description.views

    def describe(self) -> dict[str, object]:
        """See `Predictor.describe`; the views are the export's own."""
        return super().describe() | {"tta": list(self._averaged)}


def open_export(file: Path, package: ModelDescription) -> ExportedPredictor:
    """An export in ONNX.

    Parameters
    ----------
    package : what it says of its model.

    Raises
    ------
    ConfigError : ONNX Runtime is not installed.
    DataError : the export is damaged.
    """
    description = ExportDescription.read(file)
    if not installed("onnx"):
        raise ConfigError(
            "Exports need ONNX Runtime, which is not installed.",
            f"Install it: {pip_install('onnx')}.",
            str(file),
        )
    try:
        graph = OnnxEngine(file, "probabilities")
    except Exception as error:  # ONNX Runtime raises whatever it stumbles on
        raise DataError(
            f"The export cannot be read ({error}).", "Copy it again.", str(file)
        ) from None
    return ExportedPredictor(package, description, ExportEngine(graph.predict, description))
