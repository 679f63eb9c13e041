"""Networks by name, and the one function that builds any of them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from flexseg.config.schema import ModelConfig
from flexseg.errors import ConfigError
from flexseg.registry import Registry

Builder = Callable[[ModelConfig], keras.Model]


@dataclass(frozen=True)
class Architecture:
    """A network of the registry.

    Attributes
    ----------
    build : ModelConfig to a Keras model from [B, H, W, C] (0..255) to probabilities.
    multiple : what height and width must be multiples of.
    """

    build: Builder
    multiple: Callable[[ModelConfig], int]


MODELS: Registry[Architecture] = Registry("model")


def register_model(
    name: str, *aliases: str, multiple: Callable[[ModelConfig], int]
) -> Callable[[Builder], Builder]:
    """Decorator: enter a builder under its short name and its original names."""

    def add(build: Builder) -> Builder:
        MODELS.register(name, *aliases)(Architecture(build, multiple))
        return build

    return add


def check_size(config: ModelConfig, multiple: int) -> None:
    """Refuse sizes that the network's levels cannot halve.

    Raises
    ------
    ConfigError : names the nearest legal size.
    """
    size = {"image_width": config.image_width, "image_height": config.image_height}
    wrong = {key: value for key, value in size.items() if value % multiple}
    if not wrong:
        return
    legal = {key: max(multiple, round(value / multiple) * multiple) for key, value in size.items()}
    raise ConfigError(
        f"{config.model} with num_layers = {config.num_layers} needs sizes that are multiples of "
        f"{multiple}; {', '.join(f'{key} = {value}' for key, value in wrong.items())} is none.",
        f"Nearest: {', '.join(f'{key} = {legal[key]}' for key in wrong)}; or use fewer num_layers.",
        "[model]",
    )


def build_model(config: ModelConfig, search: Path | None = None) -> keras.Model:
    """The network that a config names, with fresh weights.

    Parameters
    ----------
    search : folder in which the module of a user's own `package.module:builder` may lie
        (that of the config file). Importing it runs its code.

    Raises
    ------
    ConfigError : unknown name, impossible size, or a builder that cannot be imported or
        returns no Keras model of the right shape.
    """
    import_architectures()
    if ":" in config.model:
        return _build_custom(config, search)
    architecture = MODELS.get(config.model)
    check_size(config, architecture.multiple(config))
    return architecture.build(config)


def import_architectures() -> None:
    """Fill the registry."""
    importlib.import_module("flexseg.models.unet")


def _build_custom(config: ModelConfig, search: Path | None) -> keras.Model:
    module_name, _, attribute = config.model.partition(":")
    where = "[model] model"
    if search is not None and str(search) not in sys.path:
        sys.path.append(str(search))
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"The module of {config.model!r} cannot be imported ({error}).",
            "Install it, or put it beside the config file.",
            where,
        ) from None
    builder = getattr(module, attribute, None)
    if not callable(builder):
        raise ConfigError(
            f"The module {module_name!r} has no function {attribute!r}.",
            "Write package.module:function.",
            where,
        )
    model = builder(config)
    expected = (None, config.image_height, config.image_width, config.num_classes)
    shape = getattr(model, "output_shape", type(model).__name__)
    if not isinstance(model, keras.Model) or shape != expected:
        raise ConfigError(
            f"{config.model} returned {shape}, expected a Keras model with output {expected}.",
            "The builder takes the ModelConfig and returns probabilities of that shape.",
            where,
        )
    return model
