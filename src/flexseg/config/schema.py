"""The typed configuration: one `Experiment` says everything about a segmentation model.

Section and key names are those of the antillia.com configs, in one canonical spelling; both
the old `.config` syntax and TOML end here. Paths of *inputs* are relative to the config
file, paths of *outputs* to `[train] run_dir`, which itself is relative to the config file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator


@dataclass(frozen=True)
class PathRole:
    """Marks a path field: what it is relative to, and which words in it are no path."""

    kind: Literal["input", "output"]
    words: tuple[str, ...] = ()


def _as_pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value


def _as_color(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("#") and len(value) == 7:
        return tuple(bytes.fromhex(value[1:]))
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, int | float | str) else value


def _as_none(value: Any) -> Any:
    return None if value == "none" else value


InputPath = Annotated[Path | None, PathRole("input")]
OutputPath = Annotated[Path, PathRole("output")]
OptionalOutputPath = Annotated[Path | None, PathRole("output")]
Pair = Annotated[tuple[int, int], BeforeValidator(_as_pair)]
Positive = Annotated[int, Field(gt=0)]
SizePair = Annotated[tuple[Positive, Positive], BeforeValidator(_as_pair)]
Variant = Literal["B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7"]
Byte = Annotated[int, Field(ge=0, le=255)]
Color = Annotated[tuple[Byte, Byte, Byte], BeforeValidator(_as_color)]
Counts = Annotated[list[Positive], Field(min_length=1), BeforeValidator(_as_list)]
Numbers = Annotated[list[float], BeforeValidator(_as_list)]
Names = Annotated[list[str], BeforeValidator(_as_list)]
Centers = list[tuple[float, float]]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are checked and then fixed."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


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
    input_normalize: bool | Literal["auto", "standardize", "encoder"] = Field(
        "auto",
        description="false: pixels as 0..255; true: divided by 255; "
        "'standardize': each image to mean 0 and variance 1; 'encoder': as the pretrained encoder "
        "was trained; 'auto': 'encoder' where there is one, else 'standardize'. Done inside the "
        "network.",
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
    num_layers: int = Field(6, ge=2, description="Levels, the bridge included.")
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
    depth: int = Field(4, ge=2, description="SwinUNet: levels.")
    stack_num_down: int = Field(2, gt=0, description="SwinUNet, TransUNet: blocks per level down.")
    stack_num_up: int = Field(2, gt=0, description="SwinUNet, TransUNet: blocks per level up.")
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
    num_transformer: int = Field(12, gt=0, description="TransUNet: transformer blocks.")
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
        BeforeValidator(_as_none),
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
    stage_blocks: Counts = Field(
        [1, 3, 4, 6],
        description="ResEncUNet: residual blocks per stage; the last number holds for deeper ones.",
    )
    stage_kernels: list[SizePair] = Field(
        [(3, 3)], min_length=1, description="ResEncUNet: kernel per stage, as stage_blocks."
    )
    stage_strides: list[SizePair] = Field(
        [(1, 1), (2, 2)], min_length=1, description="ResEncUNet: stride per stage, likewise."
    )
    decoder_blocks: Counts = Field(
        [1], description="ResEncUNet: convolutions per decoder stage, deepest first, likewise."
    )
    segformer: Literal["B0", "B1", "B2", "B3", "B4", "B5"] = Field(
        "B0", description="SegFormer: size of the encoder (MiT)."
    )


class DatasetConfig(Section):
    """Where the cases come from and how they are held."""

    class_name: str = Field(
        "ImageCategorizedMaskDataset",
        description="The originals' dataset class; decides how old configs read masks.",
    )
    images_dir: InputPath = Field(None, description="One folder of images for all splits.")
    masks_dir: InputPath = Field(None, description="One folder of masks for all splits.")
    split_file: InputPath = Field(
        None, description='JSON file {"train": [ids], "valid": [ids], "test": [ids]}.'
    )
    split: tuple[float, float, float] = Field(
        (0.7, 0.15, 0.15),
        description="Shares of train, valid, test where no folders and no split_file say it.",
    )
    group: str | None = Field(
        None,
        description="Regular expression on the file's stem; its first group (or whole match) "
        "names patient or volume. One group never lies in two splits.",
    )
    mask_name: str = Field(
        "{id}", description="Stem of a mask for the image stem `{id}`, e.g. '{id}_mask'."
    )
    resize_interpolation: Literal["auto", "nearest", "bilinear", "cubic", "area", "lanczos"] = (
        Field(
            "auto",
            description="How images are resized to the network; 'auto' shrinks by area and "
            "enlarges bilinearly. Masks are always resized by nearest.",
        )
    )
    cache: Literal["auto", "memory", "disk", "none"] = Field(
        "auto",
        description="Where decoded images are kept: in memory, in a file beside the run, or "
        "nowhere; 'auto' takes memory up to `cache_gb`, then the file.",
    )
    cache_gb: float = Field(2.0, ge=0, description="Memory for decoded images, in GiB.")
    workers: int = Field(2, ge=0, description="Workers that prepare batches; 0: the main one.")
    worker_type: Literal["thread", "process"] = Field(
        "thread", description="Threads, or processes (started by spawn on every system)."
    )

    @field_validator("group")
    @classmethod
    def _regular_expression(cls, group: str | None) -> str | None:
        try:
            re.compile(group or "")
        except re.error as error:
            raise ValueError(f"{group!r} is no regular expression: {error}") from None
        return group


class TrainConfig(Section):
    """Training, its data and its files."""

    images_dir: InputPath = Field(None, description="Images to train on.")
    masks_dir: InputPath = Field(None, description="Their masks.")
    run_dir: Annotated[Path, PathRole("input")] = Field(
        Path(), description="Folder that all outputs are relative to."
    )
    model_dir: OutputPath = Field(Path("models"), description="Weights, checkpoint, config copy.")
    eval_dir: OutputPath = Field(Path("eval"), description="Curves of losses and metrics.")
    epochs: int = Field(100, gt=0, description="Epochs at most.")
    batch_size: int = Field(4, gt=0, description="Images per step.")
    steps_per_epoch: int = Field(400, gt=0, description="Steps per epoch with `generator`.")
    patience: int = Field(10, description="Epochs without better val_loss to stop; <= 0: never.")
    metrics: Names = Field([], description="The two columns of train_metrics.csv.")
    learning_rate_reducer: bool = Field(True, description="Lower the rate on a plateau.")
    reducer_factor: float = Field(0.4, gt=0, lt=1, description="Factor on the learning rate.")
    reducer_patience: int = Field(4, gt=0, description="Epochs without better val_loss before.")
    best_model_file: str = Field("best_model.h5", description="File name of the best weights.")
    epoch_change_infer: bool = Field(True, description="Predict a few images after each epoch.")
    epoch_change_infer_dir: OutputPath = Field(
        Path("epoch_change_infer"), description="Folder of these predictions."
    )
    epoch_change_tiled_infer: bool = Field(False, description="The same by tiles.")
    epoch_change_tiled_infer_dir: OutputPath = Field(
        Path("epoch_change_tiled_infer"), description="Folder of the tiled predictions."
    )
    num_infer_images: int = Field(6, ge=0, description="How many images after each epoch.")
    shuffle: bool = Field(True, description="New random order in each epoch.")
    seed: int = Field(137, ge=0, description="Seed of weights, dropout, data order and splits.")
    deterministic: bool = Field(False, description="Same result bit for bit, somewhat slower.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Arithmetic; 'auto' takes bfloat16 where the device computes in it."
    )
    checkpoint_minutes: float = Field(
        10.0, gt=0, description="Save the state within an epoch at this interval."
    )
    deep_supervision: bool | Literal["auto"] = Field(
        "auto",
        description="Losses at several resolutions of the decoder; 'auto' where the network is "
        "made for it (ResEncUNet, UNetPlusPlus).",
    )
    tensorboard: bool = Field(False, description="Write TensorBoard logs into eval_dir.")


class SplitConfig(Section):
    """Images and masks of one split."""

    images_dir: InputPath = Field(None, description="Images of the split.")
    masks_dir: InputPath = Field(None, description="Their masks.")


class EvalConfig(Section):
    """Evaluation."""

    batch_size: int = Field(4, gt=0, description="Images per step of evaluation and inference.")
    bootstrap: int = Field(2000, ge=0, description="Resamples of the 95 % intervals.")


class InferConfig(Section):
    """Prediction of a folder of images."""

    images_dir: InputPath = Field(None, description="Images to predict.")
    output_dir: OutputPath = Field(Path("predictions"), description="Folder of the masks.")
    merged_dir: OptionalOutputPath = Field(None, description="Folder of the overlays.")
    overlay_alpha: float = Field(0.5, ge=0, le=1, description="Opacity of masks in overlays.")
    probabilities: bool = Field(False, description="Write class probabilities too (npz, float16).")
    threshold: float = Field(127, ge=0, le=255, description="One class: foreground above this/255.")
    blur: bool = Field(False, description="Blur the probability map before resizing.")
    ksize: Pair = Field((5, 5), description="Kernel of that blur.")
    mask_colorize: bool = Field(False, description="One class: write colourised masks too.")
    colorized_dir: OptionalOutputPath = Field(None, description="Folder of colourised masks.")


class TiledInferConfig(Section):
    """Prediction of images larger than the network."""

    images_dir: InputPath = Field(None, description="Images to predict.")
    output_dir: OutputPath = Field(Path("predictions_tiled"), description="Folder of the masks.")
    merged_dir: OptionalOutputPath = Field(None, description="Folder of the overlays.")
    split_size: int | None = Field(None, gt=0, description="Tile pitch in pixels.")
    overlapping: int = Field(64, ge=0, description="Margin on each inner side in pixels.")
    binarize: bool = Field(False, description="Threshold the mask.")
    threshold: float = Field(127, ge=0, le=255, description="Its threshold.")
    mask_colorize: bool = Field(False, description="Write colourised masks too.")


class Infer3dConfig(Section):
    """Prediction of volumes slice by slice."""

    images_dir: InputPath = Field(None, description="Volumes to predict.")
    output_dir: OutputPath = Field(Path("predictions_3d"), description="Folder of the results.")
    slice_shape_order: Literal["hwd", "dhw"] = Field("hwd", description="Order of the axes.")
    slice_normalize: bool = Field(True, description="Scale each slice to 0..255.")
    slice_resize: tuple[int, int] | None = Field((512, 512), description="Slice (w, h).")
    slice_rotation: str | None = Field("cv2.ROTATE_90_CLOCKWISE", description="Rotation.")
    mask_overlay: bool = Field(True, description="Write overlays.")
    overlay_alpha: float = Field(0.5, description="Weight of the image.")
    overlay_beta: float = Field(0.5, description="Weight of the mask.")
    overlay_gamma: float = Field(0.0, description="Brightness added.")
    video_dir: OutputPath = Field(Path("video_3d"), description="Folder of the videos.")
    video_fps: int = Field(10, gt=0, description="Frames per second.")
    video_type: Literal["slices", "masks", "overlays"] = Field("overlays", description="Content.")
    video_fileformat: Literal[".mp4", ".gif"] = Field(".mp4", description="Format.")


class ClassConfig(Section):
    """One class of the masks."""

    id: int = Field(ge=0, le=254, description="Class id, 0 is the background.")
    name: str = Field("", description="Name in tables and legends.")
    color: Color = Field(description="RGB colour in masks and predictions, [r, g, b] or '#rrggbb'.")
    more_colors: list[Color] = Field([], description="Further colours that mean this class.")
    values: Annotated[list[int], BeforeValidator(_as_list)] = Field(
        [], description="Grey or index values that mean this class in one-channel masks."
    )


class InspectConfig(Section):
    """What `flexseg inspect` writes."""

    model_graph: OutputPath = Field(Path("model.png"), description="Picture of the layers.")
    summary: OutputPath = Field(Path("summary.txt"), description="Table of the layers.")


class MaskConfig(Section):
    """How masks are read."""

    mask_file_format: str = Field("auto", description="'.png', '.npz', ... or 'auto' for any.")
    classes: list[ClassConfig] = Field(
        [], description="The classes; without them, one class: bright is foreground."
    )
    unknown_colors: Literal["nearest", "error"] = Field(
        "error", description="Pixels in no class: take the nearest colour, or refuse the mask."
    )
    threshold: float | None = Field(
        None,
        ge=0,
        description="One class: grey value from which a pixel is foreground. Without it, from 128 "
        "on where the file is lossy or reaches 128, else from 1 on.",
    )
    algorithm: Literal["otsu", "triangle"] | None = Field(
        None, description="One class: choose the threshold per mask by this rule."
    )


class ImageConfig(Section):
    """How images are read."""

    color_order: Literal["RGB", "BGR"] = Field("RGB", description="Channel order of the network.")
    file_format: str = Field("auto", description="'NPY' for arrays, 'auto' for any.")
    window: tuple[float, float] | None = Field(
        None,
        description="Intensities [low, high] that become 0..255 (CT: e.g. [-160, 240] in HU). "
        "Without it 8-bit images stay as they are, wider integers are scaled from their range.",
    )
    color_converter: str | None = Field(
        None, description="OpenCV conversion from BGR, e.g. 'cv2.COLOR_BGR2HSV_FULL'."
    )
    gamma: float = Field(0, ge=0, description="> 0: v becomes 255 (v/255)^gamma.")
    sharpening: float = Field(0, ge=0, description="> 0: strength of a 3x3 sharpening filter.")

    @field_validator("window")
    @classmethod
    def _ascending(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and not window[0] < window[1]:
            raise ValueError(f"the window {list(window)} must be [low, high] with low < high")
        return window


class SegmentationConfig(Section):
    """Colours of one-class predictions."""

    colorize: bool = Field(False, description="One class: write a colourised mask as well.")
    black: str = Field("black", description="Colour of the background.")
    white: str = Field("white", description="Colour of the foreground.")


class GeneratorConfig(Section):
    """Online augmentation: the switch."""

    augmentation: bool = Field(True, description="Augment while training with `generator`.")
    debug: bool = Field(False, description="Write generated pairs to the two folders.")
    generated_images_dir: OutputPath = Field(Path("generated_images_dir"), description="Images.")
    generated_masks_dir: OutputPath = Field(Path("generated_masks_dir"), description="Masks.")


class AugmentorConfig(Section):
    """Online augmentation: what is done."""

    hflip: bool = Field(True, description="Mirror left-right.")
    vflip: bool = Field(True, description="Mirror top-bottom.")
    rotation: bool = Field(True, description="Rotate by `angles`.")
    angles: Numbers = Field([90, 180, 270], description="Degrees, counter-clockwise.")
    shrinks: Numbers = Field([0.8], description="Scales.")
    shears: Numbers = Field([], description="Shear factors.")
    deformation: bool = Field(False, description="Elastic deformation.")
    distortion: bool = Field(False, description="Smooth random distortion.")
    sharpening: bool = Field(False, description="Sharpen the image.")
    brightening: bool = Field(False, description="Brighten the image.")
    barrdistortion: bool = Field(False, description="Barrel distortion.")
    pincdistortion: bool = Field(False, description="Pincushion distortion.")


class DeformationConfig(Section):
    """Elastic deformation."""

    alpha: float = Field(1300, description="Strength.")
    sigmoids: Numbers = Field([8], description="Widths of the Gaussian in pixels.")


class DistortionConfig(Section):
    """Smooth random distortion."""

    gaussian_filter_rsigma: float = Field(40, description="Width of the Gaussian in pixels.")
    gaussian_filter_sigma: float = Field(0.5, description="In file names only.")
    distortions: Numbers = Field([0.02], description="Sizes as a share of the image.")


class RadialConfig(Section):
    """Barrel (amount > 0) or pincushion (amount < 0) distortion."""

    radius: float = Field(0.5, description="Radius as a share of the width.")
    amount: float = Field(0.5, description="Strength.")
    centers: Centers = Field([(0.5, 0.5)], description="Centres as shares of width and height.")


class SharpeningConfig(Section):
    """Sharpening."""

    k: float = Field(1.0, description="Strength.")


class BrighteningConfig(Section):
    """Brightening: alpha v + beta."""

    alpha: float = Field(1.2, description="Factor.")
    beta: float = Field(10, description="Offset.")


class Experiment(Section):
    """Everything that one config file says."""

    model: ModelConfig = ModelConfig()
    dataset: DatasetConfig = DatasetConfig()
    train: TrainConfig = TrainConfig()
    valid: SplitConfig = SplitConfig()
    test: SplitConfig = SplitConfig()
    eval: EvalConfig = EvalConfig()
    infer: InferConfig = InferConfig()
    tiledinfer: TiledInferConfig = TiledInferConfig()
    infer3d: Infer3dConfig = Infer3dConfig()
    inspect: InspectConfig = InspectConfig()
    image: ImageConfig = ImageConfig()
    mask: MaskConfig = MaskConfig()
    segmentation: SegmentationConfig = SegmentationConfig()
    generator: GeneratorConfig = GeneratorConfig()
    augmentor: AugmentorConfig = AugmentorConfig()
    deformation: DeformationConfig = DeformationConfig()
    distortion: DistortionConfig = DistortionConfig()
    barrdistortion: RadialConfig = RadialConfig()
    pincdistortion: RadialConfig = RadialConfig(amount=-0.5)
    sharpening: SharpeningConfig = SharpeningConfig()
    brightening: BrighteningConfig = BrighteningConfig()

    @field_validator("mask")
    @classmethod
    def _distinct_classes(cls, mask: MaskConfig) -> MaskConfig:
        for what in ("id", "color"):
            values = [getattr(c, what) for c in mask.classes]
            double = sorted({str(v) for v in values if values.count(v) > 1})
            if double:
                raise ValueError(f"two classes have the same {what} {', '.join(double)}")
        return mask

    @model_validator(mode="after")
    def _classes_fit_the_head(self) -> Experiment:
        c = self.model.num_classes
        too_high = [k.id for k in self.mask.classes if k.id >= max(c, 2)]
        if too_high:
            raise ValueError(
                f"mask.classes has the class ids {too_high}, but model.num_classes = {c} "
                f"allows 0 to {max(c, 2) - 1} (num_classes counts the background)"
            )
        if c > 1 and self.mask.classes:
            missing = sorted(set(range(1, c)) - {k.id for k in self.mask.classes})
            if missing:
                raise ValueError(
                    f"model.num_classes = {c}, but mask.classes lacks the class ids {missing}"
                )
        return self

    @property
    def is_binary(self) -> bool:
        """One class against the background: one sigmoid channel."""
        return self.model.num_classes == 1
