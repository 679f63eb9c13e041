"""A model package: weights and all that using them needs, in one HDF5 file.

The file is a `best_model.h5` that the original systems can load; what they do not know
(label map, preprocessing, sizes) stands beside the weights as text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
from pydantic import BaseModel, Field

from flexseg import __version__
from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section, with_options
from flexseg.config.schema import Experiment
from flexseg.dataset.acquisition import Acquisition
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError, FlexsegError
from flexseg.files.preprocess import Preprocessing
from flexseg.models.architecture import MODELS
from flexseg.models.build import build_model, parameter_count
from flexseg.models.encoders import load_pretrained
from flexseg.models.home_images import HomeImages
from flexseg.models.seen_images import SeenImages
from flexseg.models.weights import (
    load_weights,
    read_arrays,
    read_metadata,
    save_weights,
    stored_values,
)


@dataclass(frozen=True)
class ModelPackage:
    """A network with its label map and preprocessing.

    Attributes
    ----------
    threshold : probability above which a pixel is foreground (one class only).
    info : training metrics and versions, JSON types.
    seen : images that it was trained on and chosen by; empty where that is not known.
    home : what the images of its training look like; None where that is not known.
    acquisition : sizes, spacings and modalities of its training; None where they are not known.
    """

    model: keras.Model
    config: ModelConfig
    labels: LabelMap
    preprocessing: Preprocessing
    threshold: float = 0.5
    info: dict[str, Any] = field(default_factory=dict)
    seen: SeenImages = field(default_factory=SeenImages)
    home: HomeImages | None = None
    acquisition: Acquisition | None = None

    @classmethod
    def create(cls, experiment: Experiment, search: Path | None = None) -> ModelPackage:
        """A package with fresh weights, as a config describes it."""
        config = with_options(experiment.model, search)
        return cls(
            build_model(config, search),
            config,
            LabelMap.from_config(experiment.class_sections),
            Preprocessing.from_config(
                experiment.model,
                experiment.image,
                experiment.volume,
                experiment.dataset.resize_interpolation,
            ),
            threshold(experiment.infer.threshold),
        )

    def pretrain(self) -> None:
        """Load the pretrained weights of the encoder that the config names, if it has one.

        Raises
        ------
        ResourceError, DataError : they cannot be had, or do not fit.
        """
        if ":" not in self.config.model:
            backbone = MODELS.get(self.config.model).backbone(self.config)
            load_pretrained(self.model, self.config, backbone)

    def describe(self) -> dict[str, Any]:
        """What the package knows beside the weights, JSON types."""
        return {
            "model": self.config.model_dump(mode="json"),
            "labels": self.labels.as_dict(),
            "preprocessing": self.preprocessing.as_dict(),
            "threshold": self.threshold,
            "info": self.info,
        } | ({} if self.acquisition is None else {"acquisition": self.acquisition.as_dict()})

    def save(self, path: Path, info: dict[str, Any]) -> None:
        """Write weights and description, whole or not at all."""
        metadata = {"flexseg": __version__} | self.describe() | {"info": info}
        looks = {} if self.home is None else self.home.as_arrays()
        save_weights(self.model, path, metadata, self.seen.as_arrays() | looks)

    @classmethod
    def load(
        cls,
        path: Path,
        experiment: Experiment | None = None,
        search: Path | None = None,
        trust: Callable[[str], bool] | None = None,
    ) -> ModelPackage:
        """Read a package; a weight file of the original systems takes the rest from the config.

        Parameters
        ----------
        experiment : may be None for a package, which describes itself.
        search : see `build_model`.
        trust : whether a package may import a `package.module:builder` that is not that of the
            experiment; asked only then.

        Raises
        ------
        DataError : the file cannot be read or is of another network.
        """
        metadata = read_metadata(path)
        if metadata is None:
            if experiment is None:
                raise DataError(
                    "The file holds weights, but not what network they are of.",
                    "Make a package of it with `flexseg import-weights FILE CONFIG`.",
                    str(path),
                )
            package = cls.create(experiment, search)
        else:
            named = experiment.model.model if experiment is not None else None
            package = cls._described(
                metadata, path, lambda code: code == named or bool(trust and trust(code)), search
            )
        load_weights(package.model, path)
        return replace(package, seen=read_seen(path), home=_read_home(path))

    @classmethod
    def _described(
        cls,
        metadata: dict[str, Any],
        path: Path,
        trusted: Callable[[str], bool],
        search: Path | None,
    ) -> ModelPackage:
        """A package with fresh weights, as a file describes it."""
        try:
            described = _Description.model_validate(metadata)
            stored = parse_section(described.model)
            labels = LabelMap.from_dict(described.labels)
            preprocessing = Preprocessing.from_dict(described.preprocessing)
            known = described.acquisition
            acquisition = None if known is None else Acquisition.from_dict(known)
        except (ConfigError, KeyError, TypeError, ValueError):
            raise DataError(
                f"The description beside the weights is of flexseg {metadata.get('flexseg')}; "
                f"this is {__version__}, which does not understand it.",
                "Use that version, or train again.",
                str(path),
            ) from None
        _refuse_foreign_code(stored, trusted, path)
        config = _network(stored, search, path)
        _refuse_contradictions(config, labels, preprocessing, path)
        model = build_model(config, search)
        return cls(
            model,
            config,
            labels,
            preprocessing,
            described.threshold,
            described.info,
            acquisition=acquisition,
        )


class _Description(BaseModel):
    """What stands beside the weights, see `ModelPackage.describe`."""

    model: dict[str, Any]
    labels: dict[str, Any]
    preprocessing: dict[str, Any]
    threshold: float = Field(ge=0, le=1)
    info: dict[str, Any]
    acquisition: dict[str, Any] | None = None


def read_seen(path: Path) -> SeenImages:
    """The images that the network of a weights file was trained on and chosen by.

    It is empty for files of the original systems, and for packages that do not note it.

    Raises
    ------
    DataError : the file cannot be read.
    """
    return SeenImages.from_arrays(read_arrays(path))


def _read_home(path: Path) -> HomeImages | None:
    """What the images of the training of a weights file look like, if it says so."""
    try:
        return HomeImages.from_arrays(read_arrays(path))
    except ValueError as error:
        raise DataError(
            f"The description beside the weights contradicts itself: {error}.",
            "It is damaged: copy it again, or train again.",
            str(path),
        ) from None


def _refuse_foreign_code(config: ModelConfig, trusted: Callable[[str], bool], path: Path) -> None:
    """A weight file is data: it may not choose which module gets imported."""
    if ":" in config.model and not trusted(config.model):
        raise DataError(
            f"The file asks for the code {config.model!r}, which nobody has named.",
            f"If you trust that code, set [model] model = {config.model!r} in the config, or give "
            f"flexseg.Model.load(..., trust={config.model!r}).",
            str(path),
        )


def _network(stored: ModelConfig, search: Path | None, path: Path) -> ModelConfig:
    """[model] with all options.

    A weight file may not ask for a network, and its memory, that its weights do not fill.
    """
    if ":" in stored.model:
        return with_options(stored, search)
    held = stored_values(path)
    try:
        config = with_options(stored, search)
        asked = parameter_count(config)
    except Exception as error:  # sizes that no layer can have fail where they stumble
        problem = error.problem if isinstance(error, FlexsegError) else error
        raise DataError(
            f"The file describes a network that cannot be built ({problem}).",
            "It is damaged, or of another version: copy it again, or train again.",
            str(path),
        ) from None
    if asked > held:
        raise DataError(
            f"The file describes a network of {asked:.3g} parameters, and holds {held}.",
            "It is damaged: copy it again, or train again.",
            str(path),
        )
    return config


def _refuse_contradictions(
    config: ModelConfig, labels: LabelMap, preprocessing: Preprocessing, path: Path
) -> None:
    network = (config.image_width, config.image_height, config.image_channels, config.num_classes)
    prepared = (preprocessing.width, preprocessing.height, preprocessing.channels, labels.channels)
    if network != prepared:
        raise DataError(
            "The description beside the weights contradicts itself: width, height, channels and "
            f"classes of the network are {network}, those of its images and labels {prepared}.",
            "It is damaged: copy it again, or train again.",
            str(path),
        )


def threshold(value: float) -> float:
    """The probability above which a pixel is foreground, of `[infer] threshold` (0 to 255)."""
    # 127 of 255 is the old spelling of one half.
    return 0.5 if value == 127 else value / 255
