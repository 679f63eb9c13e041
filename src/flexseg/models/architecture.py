"""The registry of the networks, which the modules of `flexseg.models.networks` fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import keras

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import NETWORKS
from flexseg.registry import Registry

T = TypeVar("T")
B = TypeVar("B", bound=Callable[..., keras.Model])


@dataclass(frozen=True)
class Architecture:
    """A network of the registry.

    Attributes
    ----------
    build : [model] to a Keras model from [B, H, W, C] (0..255) to probabilities, with random
        weights; it never downloads.
    config : the class of [model] that the network takes; its own fields are its options.
    paper : authors, year, title of what the network is built after.
    multiple : to what multiple of pixels height and width are padded inside the network.
    check : raises ConfigError for values that the network cannot be built with.
    unused : keys whose values the network takes only in part, each with what it does.
    backbone : name of its encoder from keras.applications, or None.
    defaults : what the network takes for options that are None.
    deep_supervision : trained with losses at several resolutions unless the config says no.
    """

    build: Callable[[Any], keras.Model]
    config: type[ModelConfig]
    paper: str
    multiple: Callable[[Any], int]
    check: Callable[[Any], None]
    unused: Callable[[Any], dict[str, str]]
    backbone: Callable[[Any], str | None]
    defaults: Mapping[str, Any]
    deep_supervision: bool

    @property
    def options(self) -> tuple[str, ...]:
        """The keys of [model] that are the network's own."""
        return self.config.option_names()

    @property
    def summary(self) -> str:
        """What the network is, in one line: the first of its builder's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]


MODELS: Registry[Architecture] = Registry("model")


def config_class_of(build: Callable[..., Any]) -> type[ModelConfig]:
    """The class of [model] that a builder takes: the annotation of its first parameter.

    `ModelConfig`, which has no options, where there is no such annotation.

    Raises
    ------
    NameError : a name in the annotation is not known where the builder is defined.
    """
    parameters = inspect.signature(build, eval_str=True).parameters.values()
    annotation = next((parameter.annotation for parameter in parameters), None)
    if isinstance(annotation, type) and issubclass(annotation, ModelConfig):
        return annotation
    return ModelConfig


def _always(value: T | Callable[[Any], T]) -> Callable[[Any], T]:
    """A function of the config, also where the value does not depend on it."""
    return value if callable(value) else lambda _: value


def register_model(
    name: str,
    *aliases: str,
    paper: str,
    multiple: int | Callable[[Any], int] = 1,
    check: Callable[[Any], None] = lambda _: None,
    unused: Callable[[Any], dict[str, str]] = lambda _: {},
    backbone: str | Callable[[Any], str | None] | None = None,
    defaults: Mapping[str, Any] | None = None,
    deep_supervision: bool = False,
) -> Callable[[B], B]:
    """Decorator: enter a builder under its short name and its original names.

    The builder's parameter is annotated with the class of its options, a `NetworkConfig`. The
    arguments are the attributes of `Architecture`.
    """

    def add(build: B) -> B:
        architecture = Architecture(
            build,
            config_class_of(build),
            paper,
            _always(multiple),
            check,
            unused,
            _always(backbone),
            defaults or {},
            deep_supervision,
        )
        MODELS.register(name, *aliases)(architecture)
        NETWORKS.register(name, *aliases)(architecture.config)
        return build

    return add
