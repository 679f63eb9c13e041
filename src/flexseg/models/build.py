"""The one function that builds any network, from the registry or from the user's module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import read_section, with_options
from flexseg.errors import ConfigError
from flexseg.models.architecture import MODELS, Architecture
from flexseg.models.encoders import check_encoder
from flexseg.models.layers import activation
from flexseg.models.options import EncoderOptions
from flexseg.models.own_network import build_own_network

PROBABILITIES = ("sigmoid", "hard_sigmoid")


def build_model(
    network: ModelConfig | str, search: Path | None = None, **options: Any
) -> keras.Model:
    """A network with fresh weights.

    It takes images [B, H, W, C] on a 0..255 scale and gives class probabilities float32
    [B, H, W, classes].

    Parameters
    ----------
    network : the section [model], or the name of a network.
    options : with a name, keys of [model], e.g. `image_width`, `num_classes` or `base_filters`.
    search : folder in which the module of a user's own `package.module:builder` may lie
        (that of the config file). Importing it runs its code.

    Raises
    ------
    ConfigError : unknown name, option or value, impossible size, or a builder that cannot be
        imported or returns no Keras model of the right shape.
    """
    if isinstance(network, str):
        network = read_section({"model": network, **options}, search)
    if ":" in network.model:
        return build_own_network(network, search)
    check_architecture(network)
    return architecture_of(network).build(with_options(network))


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
    architecture, config = architecture_of(config), with_options(config)
    for key in ("activation", "final_activation"):
        if hasattr(config, key):
            activation(getattr(config, key), f"[model] {key}")
    if config.num_classes == 1 and config.final_activation not in PROBABILITIES:
        raise ConfigError(
            f"final_activation = {config.final_activation!r} gives no probability.",
            f"Use one of {', '.join(PROBABILITIES)}.",
            "[model] final_activation",
        )
    architecture.check(config)
    backbone = architecture.backbone(config)
    if backbone is not None and isinstance(config, EncoderOptions):
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
