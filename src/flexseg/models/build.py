"""The one function that builds any network, from the registry or from the user's module."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import keras

from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.models.architecture import MODELS, Architecture
from flexseg.models.encoders import check_encoder
from flexseg.models.layers import activation

PROBABILITIES = ("sigmoid", "hard_sigmoid")


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
    if ":" in config.model:
        return _build_custom(config, search)
    check_architecture(config)
    return architecture_of(config).build(config)


def parameter_count(config: ModelConfig) -> int:
    """How many numbers the weights of a network of the registry are; none is allocated.

    Raises
    ------
    ConfigError : as `build_model`.
    """
    with keras.StatelessScope(initialize_variables=False):
        return int(build_model(config).count_params())


def check_architecture(config: ModelConfig) -> None:
    """Whether a network of the registry can be built, without building it.

    Raises
    ------
    ConfigError : unknown name, impossible size or values.
    """
    architecture = architecture_of(config)
    for key in ("activation", "final_activation"):
        activation(getattr(config, key), f"[model] {key}")
    if config.num_classes == 1 and config.final_activation not in PROBABILITIES:
        raise ConfigError(
            f"final_activation = {config.final_activation!r} gives no probability.",
            f"Use one of {', '.join(PROBABILITIES)}.",
            "[model] final_activation",
        )
    architecture.check(config)
    backbone = architecture.backbone(config)
    if backbone is not None:
        check_encoder(config, backbone)


def architecture_of(config: ModelConfig) -> Architecture:
    """The entry of the registry that a config names.

    Raises
    ------
    ConfigError : there is none of that name.
    """
    try:
        return MODELS.get(config.model)
    except ConfigError as error:
        raise ConfigError(error.problem, error.fix, "[model] model") from None


def _build_custom(config: ModelConfig, search: Path | None) -> keras.Model:
    module_name, _, attribute = config.model.partition(":")
    where = "[model] model"
    if search is not None and str(search) not in sys.path:
        sys.path.append(str(search))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise ConfigError(
            f"The module of {config.model!r} cannot be imported ({type(error).__name__}: {error}).",
            "Install it, or put it beside the config file; then correct its errors.",
            where,
        ) from error
    builder = getattr(module, attribute, None)
    if not callable(builder):
        raise ConfigError(
            f"The module {module_name!r} has no function {attribute!r}.",
            "Write package.module:function.",
            where,
        )
    try:
        model = builder(config)
    except Exception as error:  # the user's builder may raise anything
        raise ConfigError(
            f"{config.model} fails ({type(error).__name__}: {error}).",
            "Correct the function; `flexseg --debug` shows where it fails.",
            where,
        ) from error
    expected = (None, config.image_height, config.image_width, config.num_classes)
    shape = getattr(model, "output_shape", type(model).__name__)
    if not isinstance(model, keras.Model) or shape != expected:
        raise ConfigError(
            f"{config.model} returned {shape}, expected a Keras model with output {expected}.",
            "The builder takes the ModelConfig and returns probabilities of that shape.",
            where,
        )
    return model
