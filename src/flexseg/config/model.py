"""The section [model]: the network and how it is compiled."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from flexseg.config.base import Names, Section

InputScale = bool | Literal["auto", "standardize", "standardize_channels", "encoder"]


class ModelConfig(Section):
    """The network and how it is compiled.

    These keys concern every network. The options of one are the fields of a `NetworkConfig`
    beside its builder; until the network is known, they are held here as they were given.
    """

    model_config = ConfigDict(extra="allow")

    model: str = Field(
        "TensorFlowFlexUNet",
        description="Network by its original or short name, or `package.module:builder`.",
    )
    generator: bool = Field(
        False,
        description="Draw `steps_per_epoch` random batches per epoch, not each image once.",
    )
    evaluation: Literal["train", "valid", "test"] = Field(
        "test", description="The split scored by `evaluate`."
    )
    image_width: int = Field(512, gt=0, description="Width of the network's input in pixels.")
    image_height: int = Field(512, gt=0, description="Height of the network's input in pixels.")
    image_channels: int = Field(3, gt=0, description="Channels of the network's input.")
    num_classes: int = Field(
        2,
        ge=1,
        le=255,
        description="Number of classes, including the background (softmax); 1 for one class "
        "(sigmoid).",
    )
    input_normalize: InputScale = Field(
        "auto",
        description="false: pixels as 0..255; true: divided by 255; 'standardize': each image to "
        "mean 0 and variance 1, 'standardize_channels': each channel on its own; 'encoder': as "
        "the pretrained encoder was trained; 'auto': 'encoder' where there is one, else "
        "'standardize'. Done inside the network.",
    )
    final_activation: str = Field("sigmoid", description="Activation of the head with one class.")
    multiclass_activation: Literal["softmax", "sigmoid"] = Field(
        "softmax",
        description="Activation of the head with several classes; 'sigmoid' is that of the "
        "original U2Net, whose probabilities do not add up to 1.",
    )
    optimizer: Literal["Adam", "AdamW", "SGD"] = Field("Adam", description="Optimizer.")
    learning_rate: float = Field(1e-4, gt=0, description="Initial learning rate.")
    clipvalue: float | None = Field(0.2, gt=0, description="Clip each gradient value to +- this.")
    loss: str = Field(
        "dice_ce_loss", description="Name of the loss (see docs/reference/losses.md)."
    )
    metrics: Names = Field(
        ["dice_coef_foreground"],
        description="Metrics that are computed during training. With 'dice', computed per case "
        "as in an evaluation, the best weights are those with the highest val_dice, else those "
        "with the lowest val_loss.",
    )
    show_summary: bool = Field(False, description="Print the layers before training.")

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """The keys that are the network's own."""
        return tuple(key for key in cls.model_fields if key not in ModelConfig.model_fields)


class NetworkConfig(ModelConfig):
    """Base of the [model] sections of single networks, whose fields are their options."""

    model_config = ConfigDict(extra="forbid")
