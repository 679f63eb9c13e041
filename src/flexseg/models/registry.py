"""Networks by name. `models.build` fills the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

from flexseg.config.schema import ModelConfig
from flexseg.registry import Registry

Builder = Callable[[ModelConfig], keras.Model]


@dataclass(frozen=True)
class Architecture:
    """A network of the registry.

    Attributes
    ----------
    build : ModelConfig to a Keras model from [B, H, W, C] (0..255) to probabilities.
    multiple : what height and width must be multiples of.
    check : raises ConfigError for values that the network cannot be built with.
    """

    build: Builder
    multiple: Callable[[ModelConfig], int]
    check: Callable[[ModelConfig], None]


MODELS: Registry[Architecture] = Registry("model")


def register_model(
    name: str,
    *aliases: str,
    multiple: Callable[[ModelConfig], int],
    check: Callable[[ModelConfig], None],
) -> Callable[[Builder], Builder]:
    """Decorator: enter a builder under its short name and its original names."""

    def add(build: Builder) -> Builder:
        MODELS.register(name, *aliases)(Architecture(build, multiple, check))
        return build

    return add
