"""The registry of the networks, which the modules of `flexseg.models.networks` fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import keras

from flexseg.config.model import ModelConfig
from flexseg.registry import Registry

T = TypeVar("T")
Builder = Callable[[ModelConfig], keras.Model]

# Keys of [model] that concern every network: its input, its output and its training.
COMMON_OPTIONS = frozenset(
    {
        "model", "generator", "evaluation", "image_width", "image_height", "image_channels",
        "num_classes", "final_activation", "multiclass_activation", "optimizer", "learning_rate",
        "clipvalue", "loss", "metrics", "show_summary",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """A network of the registry.

    Attributes
    ----------
    build : ModelConfig to a Keras model from [B, H, W, C] (0..255) to probabilities, with
        random weights; it never downloads.
    paper : authors, year, title of what the network is built after.
    options : the keys of [model] that it reads beside COMMON_OPTIONS.
    multiple : to what multiple of pixels height and width are padded inside the network.
    check : raises ConfigError for values that the network cannot be built with.
    unused : keys whose values the network takes only in part, each with what it does.
    backbone : name of its encoder from keras.applications, or None.
    defaults : of options that the schema leaves to the network.
    deep_supervision : trained with losses at several resolutions unless the config says no.
    """

    build: Builder
    paper: str
    options: tuple[str, ...]
    multiple: Callable[[ModelConfig], int]
    check: Callable[[ModelConfig], None]
    unused: Callable[[ModelConfig], dict[str, str]]
    backbone: Callable[[ModelConfig], str | None]
    defaults: Mapping[str, Any]
    deep_supervision: bool

    @property
    def summary(self) -> str:
        """What the network is, in one line: the first of its builder's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]


MODELS: Registry[Architecture] = Registry("model")


def _always(value: T | Callable[[ModelConfig], T]) -> Callable[[ModelConfig], T]:
    """A function of the config, also where the value does not depend on it."""
    return value if callable(value) else lambda _: value


def register_model(
    name: str,
    *aliases: str,
    paper: str,
    options: tuple[str, ...],
    multiple: int | Callable[[ModelConfig], int] = 1,
    check: Callable[[ModelConfig], None] = lambda _: None,
    unused: Callable[[ModelConfig], dict[str, str]] = lambda _: {},
    backbone: str | Callable[[ModelConfig], str | None] | None = None,
    defaults: Mapping[str, Any] | None = None,
    deep_supervision: bool = False,
) -> Callable[[Builder], Builder]:
    """Decorator: enter a builder under its short name and its original names.

    The arguments are the attributes of `Architecture`.
    """

    def add(build: Builder) -> Builder:
        architecture = Architecture(
            build,
            paper,
            options,
            _always(multiple),
            check,
            unused,
            _always(backbone),
            defaults or {},
            deep_supervision,
        )
        MODELS.register(name, *aliases)(architecture)
        return build

    return add
