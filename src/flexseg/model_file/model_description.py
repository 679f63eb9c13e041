"""What a model package says of its network, read without Keras.

It stands as text beside the weights in a `best_model.h5` that the original systems can load: label
map, preprocessing, sizes, and what the network was trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from flexseg import __version__
from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section, with_options
from flexseg.config.schema import Experiment
from flexseg.dataset.acquisition import Acquisition
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError
from flexseg.files.preprocess import Preprocessing
from flexseg.model_file.export_description import ExportDescription
from flexseg.model_file.hdf5_weights import read_arrays, read_metadata
from flexseg.model_file.home_images import HomeImages
from flexseg.model_file.onnx_file import SUFFIX
from flexseg.model_file.seen_images import SeenImages


@dataclass(frozen=True)
class ModelDescription:
    """All that using a network needs beside its weights.

    Attributes
    ----------
    config : [model]; its options are looked at only where the networks are registered, see
        `flexseg.config.network_options`.
    threshold : probability above which a pixel is foreground (one class only).
    info : training metrics and versions, JSON types.
    seen : images that it was trained on and chosen by; empty where that is not known.
    home : what the images of its training look like; None where that is not known.
    acquisition : sizes, spacings and modalities of its training; None where they are not known.
    least_contrast : deviations that hardly any input of its training was below, 0..255, of all
        values or of each channel, as the network standardises; empty where it does not, or where
        they are not known.
    """

    config: ModelConfig
    labels: LabelMap
    preprocessing: Preprocessing
    threshold: float = 0.5
    info: dict[str, Any] = field(default_factory=dict)
    seen: SeenImages = field(default_factory=SeenImages)
    home: HomeImages | None = None
    acquisition: Acquisition | None = None
    least_contrast: tuple[float, ...] = ()

    @staticmethod
    def of_config(experiment: Experiment, search: Path | None = None) -> ModelDescription:
        """Of a network as a config describes it, trained on nothing."""
        return ModelDescription(
            with_options(experiment.model, search),
            LabelMap.from_config(experiment.class_sections),
            Preprocessing.from_config(
                experiment.model,
                experiment.image,
                experiment.volume,
                experiment.dataset.resize_interpolation,
            ),
            threshold(experiment.infer.threshold),
        )

    @staticmethod
    def read(
        path: Path,
        experiment: Experiment | None = None,
        search: Path | None = None,
        trust: Callable[[str], bool] | None = None,
    ) -> ModelDescription:
        """Of a package, or an export; of a weight file of the original systems the config says all.

        Parameters
        ----------
        experiment : may be None for a package, which describes itself.
        search : see `build_model`.
        trust : whether a package may import a `package.module:builder` that is not that of the
            experiment; asked only then.

        Raises
        ------
        DataError : the file cannot be read, or contradicts itself.
        """
        if path.suffix.lower() == SUFFIX:
            return _of_export(path)
        metadata = read_metadata(path)
        if metadata is not None:
            named = experiment.model.model if experiment is not None else None
            return _described(
                metadata, path, lambda code: code == named or bool(trust and trust(code)), search
            )
        if experiment is None:
            raise DataError(
                "The file holds weights, but does not say of which network.",
                "Make a package of it with `flexseg import-weights FILE CONFIG`.",
                str(path),
            )
        return ModelDescription.of_config(experiment, search)

    def describe(self) -> dict[str, Any]:
        """What stands beside the weights, JSON types."""
        return {
            "model": self.config.model_dump(mode="json"),
            "labels": self.labels.as_dict(),
            "preprocessing": self.preprocessing.as_dict(),
            "threshold": self.threshold,
            "info": self.info,
            "least_contrast": list(self.least_contrast),
        } | ({} if self.acquisition is None else {"acquisition": self.acquisition.as_dict()})


class _Metadata(BaseModel):
    """What stands beside the weights, see `ModelDescription.describe`."""

    model: dict[str, Any]
    labels: dict[str, Any]
    preprocessing: dict[str, Any]
    threshold: float = Field(ge=0, le=1)
    info: dict[str, Any]
    acquisition: dict[str, Any] | None = None
    least_contrast: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] = []


def _described(
    metadata: dict[str, Any], path: Path, trusted: Callable[[str], bool], search: Path | None
) -> ModelDescription:
    try:
        described = _Metadata.model_validate(metadata)
        stored = parse_section(described.model)
        labels = LabelMap.from_dict(described.labels)
        preprocessing = Preprocessing.from_dict(described.preprocessing)
        known = described.acquisition
        acquisition = None if known is None else Acquisition.from_dict(known)
    except (ConfigError, KeyError, TypeError, ValueError):
        raise DataError(
            "The description beside the weights was written by flexseg "
            f"{metadata.get('flexseg')}; this is {__version__}, which does not understand it.",
            "Use that version, or train again.",
            str(path),
        ) from None
    _refuse_foreign_code(stored, trusted, path)
    try:
        config = with_options(stored, search)
    except ConfigError as error:
        if ":" in stored.model:
            raise
        raise cannot_be_built(path, error.problem) from None
    _refuse_contradictions(config, labels, preprocessing, path)
    return ModelDescription(
        config,
        labels,
        preprocessing,
        described.threshold,
        described.info,
        read_seen(path),
        _read_home(path),
        acquisition,
        tuple(described.least_contrast),
    )


def _of_export(path: Path) -> ModelDescription:
    """Of an export, whose network nobody builds: its options are of no account."""
    found = ExportDescription.read(path)
    size, labels = found.preprocessing, found.labels
    config = ModelConfig(
        model=found.network,
        image_width=size.width,
        image_height=size.height,
        image_channels=size.channels,
        num_classes=labels.channels,
    )
    return ModelDescription(config, labels, size, found.threshold)


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
            f"The file needs the code {config.model!r}, which is not trusted yet.",
            f"If you trust that code, set [model] model = {config.model!r} in the config, or give "
            f"flexseg.Model.load(..., trust={config.model!r}).",
            str(path),
        )


def cannot_be_built(path: Path, problem: object) -> DataError:
    """The error about a package whose network cannot be built."""
    return DataError(
        f"The file describes a network that cannot be built ({problem}).",
        "It is damaged, or was written by another version: copy it again, or train again.",
        str(path),
    )


def _refuse_contradictions(
    config: ModelConfig, labels: LabelMap, preprocessing: Preprocessing, path: Path
) -> None:
    network = (config.image_width, config.image_height, config.image_channels, config.num_classes)
    prepared = (preprocessing.width, preprocessing.height, preprocessing.channels, labels.channels)
    if network != prepared:
        raise DataError(
            "The description beside the weights contradicts itself: width, height, channels and "
            f"classes of the network are {network}, but those of its images and labels "
            f"{prepared}.",
            "It is damaged: copy it again, or train again.",
            str(path),
        )


def threshold(value: float) -> float:
    """The probability above which a pixel is foreground, of `[infer] threshold` (0 to 255)."""
    # 127 of 255 is the old spelling of one half.
    return 0.5 if value == 127 else value / 255
