"""What an export says of itself, in pairs of texts within its file.

Some of them are for any program: names and colours of the classes, what it is meant for. One holds
all that flexseg needs to predict with the export again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from flexseg import __version__
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError
from flexseg.files.preprocess import Preprocessing
from flexseg.model_file.onnx_file import SUFFIX, read_properties

PixelType = Literal["uint8", "uint16", "float32"]
Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_KEY = "flexseg_export"
_FORMAT = 1
RESEARCH = "Research, and drafts of masks that a qualified person checks one by one."


@dataclass(frozen=True)
class ExportDescription:
    """An export beside its graph.

    Attributes
    ----------
    network : name of the network's kind, or what an ensemble's members are.
    preprocessing : that the graph does itself.
    threshold : that its labels have (one class only).
    pixels : type of the images that it takes.
    views : of test-time augmentation, which the graph averages.
    postprocess : steps after the graph: "2d" for images, "3d" for volumes -> class name -> steps,
        see `Postprocessing.as_dict`.
    temperature : at which probabilities are to be read; the graph's are those of the network.
    digests : of the networks, see `network_digest`.
    intended_use : for people.
    fingerprint : of the images and masks of the training; empty: not known.
    quality : class id -> how the signal of an image becomes an expected Dice, see
        `ClassCalibration.as_dict`; it is in no file of a graph.
    precision : of the networks' arithmetic.
    overlap : of the windows by which images are seen, in pixels; None: they are seen whole.
    """

    network: str
    labels: LabelMap
    preprocessing: Preprocessing
    threshold: float
    pixels: PixelType
    views: tuple[str, ...] = ()
    postprocess: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    digests: tuple[str, ...] = ()
    intended_use: str = RESEARCH
    fingerprint: str = ""
    quality: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    precision: Precision = "float32"
    overlap: int | None = None

    @property
    def scaled(self) -> bool:
        """Whole numbers count over the range of their type."""
        return self.preprocessing.window is None

    @property
    def windows(self) -> tuple[int, int] | None:
        """Height and width in pixels of the windows that the graph takes; None: any image."""
        return None if self.overlap is None else self.preprocessing.patch

    def properties(self) -> dict[str, str]:
        """The pairs of texts."""
        classes = self.labels.classes
        content = {
            "format": _FORMAT,
            "flexseg": __version__,
            "network": self.network,
            "labels": self.labels.as_dict(),
            "preprocessing": self.preprocessing.as_dict(),
            "threshold": self.threshold,
            "pixels": self.pixels,
            "views": list(self.views),
            "postprocess": self.postprocess,
            "temperature": self.temperature,
            "digests": list(self.digests),
            "precision": self.precision,
            "overlap": self.overlap,
        }
        plain = {
            "classes": [c.name for c in classes],
            "colors": [list(c.colors[0]) for c in classes],
            "postprocessing": self.postprocess.get("2d", {}),
            "scaled": self.scaled,
            "digest": list(self.digests),
        }
        if self.windows is not None:
            height, width = self.windows
            plain["windows"] = {
                "height": height,
                "width": width,
                "overlap": self.overlap,
                "threshold": self.threshold,
            }
        texts = {key: json.dumps(value) for key, value in plain.items()}
        return texts | {
            "intended_use": self.intended_use,
            "fingerprint": self.fingerprint,
            _KEY: json.dumps(content),
        }

    @classmethod
    def read(cls, file: Path) -> ExportDescription:
        """That of a file.

        Raises
        ------
        DataError : it is no export, or that of another version.
        """
        properties = read_properties(file)
        if _KEY not in properties:
            raise _no_export(file)
        try:
            content = json.loads(properties[_KEY])
            if content["format"] != _FORMAT or content["pixels"] not in get_args(PixelType):
                raise ValueError
            return cls(
                str(content["network"]),
                LabelMap.from_dict(content["labels"]),
                Preprocessing.from_dict(content["preprocessing"]),
                float(content["threshold"]),
                cast(PixelType, content["pixels"]),
                tuple(map(str, content["views"])),
                dict(content["postprocess"]),
                float(content["temperature"]),
                tuple(map(str, content["digests"])),
                properties.get("intended_use", RESEARCH),
                properties.get("fingerprint", ""),
                precision=cast(Precision, content.get("precision", "float32")),
                overlap=content.get("overlap"),
            )
        except (ConfigError, KeyError, TypeError, ValueError):
            raise DataError(
                f"This version of flexseg, {__version__}, does not understand the export.",
                "Export it again, or predict with the run.py beside it.",
                str(file),
            ) from None


def is_export(file: Path) -> bool:
    """Whether a file is an export in ONNX, by its name and what it says."""
    return file.suffix.lower() == SUFFIX and _KEY in read_properties(file)


def _no_export(file: Path) -> DataError:
    package = file.with_suffix(".h5")
    return DataError(
        "The file is not an export of flexseg, which would say how to prepare images for it."
        if file.is_file()
        else "There is no such file.",
        f"It may be the network of a package: give {package.name}."
        if package.is_file()
        else "Give the model.onnx written by `flexseg export MODEL --to onnx`.",
        str(file),
    )
