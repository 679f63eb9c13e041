"""Networks by name. `models.build` fills the registry."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import keras

from flexseg.config.schema import ModelConfig
from flexseg.registry import Registry

Builder = Callable[[ModelConfig], keras.Model]

# Keys of [model] that concern every network: its input, its output and its training.
COMMON_OPTIONS = frozenset(
    {
        "model", "generator", "evaluation", "image_width", "image_height", "image_channels",
        "num_classes", "final_activation", "multiclass_activation", "optimizer", "learning_rate",
        "clipvalue", "loss", "metrics", "show_summary",
    }
)  # fmt: skip


def _one(config: ModelConfig) -> int:
    return 1


def _accept(config: ModelConfig) -> None:
    pass


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
    pretrain : loads the encoder's pretrained weights that the config names, or None.
    deep_supervision : trained with losses at several resolutions unless the config says no.
    """

    build: Builder
    paper: str
    options: tuple[str, ...]
    multiple: Callable[[ModelConfig], int] = _one
    check: Callable[[ModelConfig], None] = _accept
    pretrain: Callable[[keras.Model, ModelConfig], None] | None = None
    deep_supervision: bool = False

    @property
    def summary(self) -> str:
        """What the network is, in one line: the first of its builder's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]


MODELS: Registry[Architecture] = Registry("model")


def register_model(
    name: str,
    *aliases: str,
    paper: str,
    options: tuple[str, ...],
    multiple: Callable[[ModelConfig], int] = _one,
    check: Callable[[ModelConfig], None] = _accept,
    pretrain: Callable[[keras.Model, ModelConfig], None] | None = None,
    deep_supervision: bool = False,
) -> Callable[[Builder], Builder]:
    """Decorator: enter a builder under its short name and its original names.

    The arguments are the attributes of `Architecture`.
    """

    def add(build: Builder) -> Builder:
        architecture = Architecture(
            build, paper, options, multiple, check, pretrain, deep_supervision
        )
        MODELS.register(name, *aliases)(architecture)
        return build

    return add
