"""Networks of the user's own: `package.module:builder`, whose code runs when it is imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import NETWORKS, with_options
from flexseg.errors import ConfigError
from flexseg.models.architecture import config_class_of
from flexseg.models.networks.unet import UNetConfig

_WHERE = "[model] model"


def own_config_class(name: str, search: Path | None) -> type[ModelConfig]:
    """The class of [model] that a builder takes; that of the UNet if it does not say.

    `ModelConfig`, which holds any key, where the builder cannot be imported: to build the
    network says why.

    Raises
    ------
    ConfigError : the annotation of the builder's parameter means nothing.
    """
    try:
        builder = import_builder(name, search)
    except ConfigError:
        return ModelConfig
    try:
        kind = config_class_of(builder)
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(
            f"The arguments of {name} are not known ({error}).",
            "Annotate its parameter with a class of the same module.",
            _WHERE,
        ) from None
    return UNetConfig if kind is ModelConfig else kind


def import_builder(name: str, search: Path | None) -> Callable[..., Any]:
    """Import `package.module:builder`, which runs the module's code.

    Parameters
    ----------
    search : folder in which the module may lie.

    Raises
    ------
    ConfigError : the module cannot be imported, or has no such function.
    """
    module_name, _, attribute = name.partition(":")
    if search is not None and str(search) not in sys.path:
        sys.path.append(str(search))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise ConfigError(
            f"The module of {name!r} cannot be imported ({type(error).__name__}: {error}).",
            "Install it, or put it beside the config file or into a folder on PYTHONPATH, and "
            "correct its errors.",
            _WHERE,
        ) from error
    builder = getattr(module, attribute, None)
    if not callable(builder):
        raise ConfigError(
            f"The module {module_name!r} has no function {attribute!r}.",
            "Write package.module:function.",
            _WHERE,
        )
    return builder


def build_own_network(config: ModelConfig, search: Path | None) -> keras.Model:
    """The network of a user's builder, with fresh weights.

    Raises
    ------
    ConfigError : the builder cannot be imported, an option is wrong, or what it returns is no
        Keras model of the right shape.
    """
    builder = import_builder(config.model, search)
    config = with_options(config, search)
    try:
        model = builder(config)
    except Exception as error:  # the user's builder may raise anything
        raise ConfigError(
            f"{config.model} fails ({type(error).__name__}: {error}).",
            "Correct the function; `flexseg --debug` shows where it fails.",
            _WHERE,
        ) from error
    expected = (None, config.image_height, config.image_width, config.num_classes)
    shape = getattr(model, "output_shape", type(model).__name__)
    if not isinstance(model, keras.Model) or shape != expected:
        raise ConfigError(
            f"{config.model} returned {shape}, expected a Keras model with output {expected}.",
            "The builder takes the ModelConfig and returns probabilities of that shape.",
            _WHERE,
        )
    return model


NETWORKS.own = own_config_class
