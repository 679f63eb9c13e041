"""The section [model]: the network and how it is compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from flexseg.config.base import (
    Blocks,
    Counts,
    Names,
    PathRole,
    Positive,
    Section,
    SizePair,
    as_none,
)

InputScale = bool | Literal["auto", "standardize", "standardize_channels", "encoder"]
Variant = Literal["B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7"]


class ModelConfig(Section):
    """The network and how it is compiled."""

    model: str = Field(
        "TensorFlowFlexUNet",
        description="Network by its original or short name, or `package.module:builder`.",
    )
    generator: bool = Field(
        False,
        description="Draw `steps_per_epoch` random batches per epoch, not each image once.",
    )
    evaluation: Literal["train", "valid", "test"] = Field(
        "test", description="The split that `evaluate` scores."
    )
    image_width: int = Field(512, gt=0, description="Width of the network's input in pixels.")
    image_height: int = Field(512, gt=0, description="Height of the network's input in pixels.")
    image_channels: int = Field(3, gt=0, description="Channels of the network's input.")
    num_classes: int = Field(
        2,
        ge=1,
        le=255,
        description="Classes with the background (softmax); 1 for one class (sigmoid).",
    )
    input_normalize: InputScale = Field(
        "auto",
        description="false: pixels as 0..255; true: divided by 255; 'standardize': each image to "
        "mean 0 and variance 1, 'standardize_channels': each channel of it by itself; 'encoder': "
        "as the pretrained encoder was trained; 'auto': 'encoder' where there is one, else "
        "'standardize'. Done inside the network.",
    )
    normalization: bool = Field(False, description="Batch normalisation after each convolution.")
    activation: str = Field(
        "relu", description="Activation of the hidden layers: relu, mish, or any Keras name."
    )
    final_activation: str = Field("sigmoid", description="Activation of the head with one class.")
    multiclass_activation: Literal["softmax", "sigmoid"] = Field(
        "softmax",
        description="Activation of the head with several classes; 'sigmoid' is that of the "
        "original U2Net, whose probabilities do not add up to 1.",
    )
    base_filters: int = Field(16, gt=0, description="Filters of the first level.")
    num_layers: int = Field(6, ge=2, le=20, description="Levels, the bridge included.")
    base_kernels: SizePair = Field(
        (3, 3), description="Kernel of the first level; each deeper level has 2 less, at least 3."
    )
    dilation: SizePair = Field(
        (1, 1), description="Dilation of the first level; each deeper level has 1 less."
    )
    dropout_rate: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Dropout; UNet and UNetPlusPlus drop rate x level, others alike everywhere.",
    )
    dropout_seed_fixing: bool = Field(False, description="Give every dropout layer the same seed.")
    optimizer: Literal["Adam", "AdamW", "SGD"] = Field("Adam", description="Optimizer.")
    learning_rate: float = Field(1e-4, gt=0, description="Learning rate at the start.")
    clipvalue: float | None = Field(0.2, gt=0, description="Clip each gradient value to +-this.")
    loss: str = Field("dice_ce_loss", description="Loss by name (see docs/reference/losses.md).")
    metrics: Names = Field(
        ["dice_coef_foreground"], description="Metrics that are computed while training."
    )
    show_summary: bool = Field(False, description="Print the layers before training.")

    filters: Counts = Field([32, 64, 128, 256], description="SharpUNet: filters per level.")
    max_filter: int = Field(512, gt=0, description="SharpUNet: filters of the bottleneck.")
    base_ksize: SizePair = Field((3, 3), description="SharpUNet: kernel.")
    filter_num_begin: int = Field(128, gt=0, description="SwinUNet: channels of the first level.")
    depth: int = Field(4, ge=2, le=20, description="SwinUNet: levels.")
    stack_num_down: int = Field(
        2, gt=0, le=100, description="SwinUNet, TransUNet: blocks per level down."
    )
    stack_num_up: int = Field(
        2, gt=0, le=100, description="SwinUNet, TransUNet: blocks per level up."
    )
    patch_size: SizePair = Field((4, 4), description="SwinUNet: patch in pixels.")
    num_heads: Positive | Counts | None = Field(
        None,
        description="SwinUNet: attention heads per level [4, 8, 8, 8]; TransUNet: heads [12].",
    )
    window_size: Counts | None = Field(
        None,
        description="SwinUNet: window per level [4, 2, 2, 2], in patches of that level.",
    )
    num_mlp: int | None = Field(
        None, gt=0, description="Width of the MLP; SwinUNet [512], TransUNet [3072]."
    )
    shift_window: bool = Field(True, description="SwinUNet: shift every second block's window.")
    filter_num: Counts = Field([64, 128, 256, 512], description="TransUNet: filters per level.")
    embed_dim: int = Field(768, gt=0, description="TransUNet: width of the transformer.")
    num_transformer: int = Field(12, gt=0, le=200, description="TransUNet: transformer blocks.")
    mlp_activation: str = Field("GELU", description="TransUNet: activation of the MLP.")
    batch_norm: bool = Field(False, description="TransUNet: batch normalisation.")
    pool: bool | Literal["max", "ave"] = Field(
        True, description="TransUNet: max pooling (true), 'ave', or strided convolution (false)."
    )
    unpool: bool | Literal["bilinear", "nearest"] = Field(
        True,
        description="TransUNet: bilinear upsampling (true), 'nearest', or transposed convolution "
        "(false).",
    )
    backbone: str | None = Field(
        None,
        description="EncoderUNet, TransUNet: encoder from keras.applications, e.g. "
        "'EfficientNetV2B0', 'ConvNeXtTiny', 'ResNet50'.",
    )
    weights: Annotated[
        Literal["imagenet"] | Path | None,
        PathRole("input", ("imagenet", "none")),
        BeforeValidator(as_none),
    ] = Field(
        "imagenet",
        description="Weights that an encoder of keras.applications starts with: 'imagenet' "
        "(downloaded once), a file, or 'none' (random).",
    )
    freeze_backbone: bool = Field(
        True, description="TransUNet, EfficientNetB7UNet: keep the pretrained weights of the "
        "encoder as they are."
    )  # fmt: skip
    freeze_batch_norm: bool = Field(
        True, description="TransUNet: keep the statistics of a trained encoder too."
    )
    efficientnet: Variant = Field("B0", description="EfficientUNet: size of the encoder.")
    decoder_filters: Counts = Field(
        [256, 128, 64, 32, 16], description="EncoderUNet: filters of the decoder, deepest first."
    )
    stage_features: Counts = Field(
        [32, 64, 128, 256, 512, 512], description="ResEncUNet: features per stage."
    )
    stage_blocks: Blocks = Field(
        [1, 3, 4, 6],
        description="ResEncUNet: residual blocks per stage; the last number holds for deeper ones.",
    )
    stage_kernels: list[SizePair] = Field(
        [(3, 3)], min_length=1, description="ResEncUNet: kernel per stage, as stage_blocks."
    )
    stage_strides: list[SizePair] = Field(
        [(1, 1), (2, 2)], min_length=1, description="ResEncUNet: stride per stage, likewise."
    )
    stage_norm: Literal["instance", "batch"] = Field(
        "instance",
        description="ResEncUNet: normalisation; 'batch' is several times faster on a CPU.",
    )
    decoder_blocks: Blocks = Field(
        [1], description="ResEncUNet: convolutions per decoder stage, deepest first, likewise."
    )
    segformer: Literal["B0", "B1", "B2", "B3", "B4", "B5"] = Field(
        "B0", description="SegFormer: size of the encoder (MiT)."
    )
