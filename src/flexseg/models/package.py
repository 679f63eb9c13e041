"""A model package: a network with all that using it needs, in one HDF5 file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from flexseg import __version__
from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.errors import DataError, FlexsegError
from flexseg.model_file.hdf5_weights import read_metadata, stored_values
from flexseg.model_file.model_description import ModelDescription, cannot_be_built
from flexseg.models.architecture import MODELS
from flexseg.models.build import build_model, parameter_count
from flexseg.models.encoders import load_pretrained
from flexseg.models.weights import load_weights, save_weights


@dataclass(frozen=True)
class ModelPackage(ModelDescription):
    """A network in Keras with its description."""

    model: keras.Model = field(kw_only=True)

    @classmethod
    def create(cls, experiment: Experiment, search: Path | None = None) -> ModelPackage:
        """A package with fresh weights, as a config describes it."""
        return cls.built(ModelDescription.of_config(experiment, search), search)

    @classmethod
    def built(cls, description: ModelDescription, search: Path | None = None) -> ModelPackage:
        """A package with fresh weights.

        Parameters
        ----------
        search : see `build_model`.
        """
        return cls(**vars(description), model=build_model(description.config, search))

    def pretrain(self) -> None:
        """Load the pretrained weights of the encoder that the config names, if it has one.

        Raises
        ------
        ResourceError, DataError : they cannot be had, or do not fit.
        """
        if ":" not in self.config.model:
            backbone = MODELS.get(self.config.model).backbone(self.config)
            load_pretrained(self.model, self.config, backbone)

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
        experiment, search, trust : see `ModelDescription.read`.

        Raises
        ------
        DataError : the file cannot be read or is of another network.
        """
        return cls.of_file(ModelDescription.read(path, experiment, search, trust), path, search)

    @classmethod
    def of_file(
        cls, description: ModelDescription, path: Path, search: Path | None = None
    ) -> ModelPackage:
        """A described network with the weights of a file.

        Parameters
        ----------
        search : see `build_model`.

        Raises
        ------
        DataError : the file cannot be read or is of another network.
        """
        if read_metadata(path) is not None and ":" not in description.config.model:
            _refuse_larger_than_weights(description.config, path)
        package = cls.built(description, search)
        load_weights(package.model, path)
        return package


def _refuse_larger_than_weights(config: ModelConfig, path: Path) -> None:
    """A weight file may not ask for a network, and its memory, that its weights do not fill."""
    held = stored_values(path)
    try:
        asked = parameter_count(config)
    except Exception as error:  # sizes that no layer can have fail where they stumble
        problem = error.problem if isinstance(error, FlexsegError) else error
        raise cannot_be_built(path, problem) from None
    if asked > held:
        raise DataError(
            f"The file describes a network of {asked:.3g} parameters, but holds {held}.",
            "It is damaged: copy it again, or train again.",
            str(path),
        )
