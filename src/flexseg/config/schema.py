"""The typed configuration: one `Experiment` says everything about a segmentation model.

Section and key names are those of the antillia.com configs, in one canonical spelling; both
the old `.config` syntax and TOML end here. Paths of *inputs* are relative to the config
file, paths of *outputs* to `[train] run_dir`, which itself is relative to the config file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from flexseg.config.augmentation import (
    AUGMENTOR_SECTIONS,
    AugmentationConfig,
    AugmentorConfig,
    BrighteningConfig,
    DeformationConfig,
    DistortionConfig,
    GeneratorConfig,
    PincushionConfig,
    RadialConfig,
    SharpeningConfig,
    VariantSections,
)
from flexseg.config.base import (
    Color,
    InputPath,
    OutputPath,
    Positive,
    PositiveNumber,
    Section,
    as_list,
)
from flexseg.config.infer import (
    Infer3dConfig,
    InferConfig,
    PostprocessConfig,
    TiledInferConfig,
    VolumeConfig,
)
from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.config.train import TrainConfig
from flexseg.config.tune import TuneConfig


class DatasetConfig(Section):
    """Where the cases come from and how they are held."""

    class_name: str = Field(
        "ImageCategorizedMaskDataset",
        description="The originals' dataset class; decides how old configs read masks.",
    )
    images_dir: InputPath = Field(None, description="One folder of images for all splits.")
    masks_dir: InputPath = Field(None, description="One folder of masks for all splits.")
    ignore_dir: InputPath = Field(
        None,
        description="Folder with a further mask per image: what is not black there counts in no "
        "loss, metric or statistic, whatever the masks say.",
    )
    roi_dir: InputPath = Field(
        None,
        description="Folder with a further mask per image, of the field of view or the annotated "
        "region: what is black there counts in no loss, metric or statistic.",
    )
    region_name: str = Field(
        "{id}",
        description="Stem of the files in `ignore_dir` and `roi_dir` for the image stem `{id}`, "
        "see `mask_name`.",
    )
    split_file: InputPath = Field(
        None,
        description='JSON file {"train": [...], "valid": [...], "test": [...]} with ids of cases '
        "or names of groups; if the splits have folders of their own, it chooses among their "
        "cases.",
    )
    split: tuple[float, float, float] = Field(
        (0.7, 0.15, 0.15),
        description="Shares of train, valid and test, if neither folders nor split_file say "
        "otherwise.",
    )
    group: str | None = Field(
        None,
        description="Regular expression on the file's stem; its first group (or whole match) "
        "names the patient or volume. One group is never in two splits.",
    )
    mask_name: str = Field(
        "{id}",
        description="Stem of a mask for the image stem `{id}`, e.g. '{id}_mask'; '{id:img=mask}' "
        "replaces img by mask.",
    )
    resize_interpolation: Literal[
        "auto", "nearest", "bilinear", "cubic", "area", "lanczos", "scikit-image"
    ] = Field(
        "auto",
        description="How images are resized to the network; 'auto' shrinks by area and enlarges "
        "bilinearly, 'scikit-image' is its bilinear resizing with anti-aliasing. Masks are "
        "always resized by nearest neighbour.",
    )
    cache: Literal["auto", "memory", "disk", "none"] = Field(
        "auto",
        description="Where decoded images are cached: in memory, in a file in the run's folder, "
        "or nowhere; 'auto': in memory up to `cache_gb`, else in the file.",
    )
    cache_gb: float = Field(2.0, ge=0, description="Memory for decoded images, in GiB.")
    workers: int = Field(
        2, ge=0, description="Number of workers that prepare batches; 0: the main thread does."
    )
    worker_type: Literal["thread", "process"] = Field(
        "thread",
        description="Whether workers are threads or processes (started by spawn on every system).",
    )

    @field_validator("group")
    @classmethod
    def _regular_expression(cls, group: str | None) -> str | None:
        try:
            re.compile(group or "")
        except re.error as error:
            raise ValueError(f"{group!r} is not a regular expression: {error}") from None
        return group


class SplitConfig(Section):
    """Images and masks of one split."""

    images_dir: InputPath = Field(None, description="Images of the split.")
    masks_dir: InputPath = Field(None, description="Their masks.")
    ignore_dir: InputPath = Field(
        None, description="Masks of what is ignored in its images, see `[dataset] ignore_dir`."
    )
    roi_dir: InputPath = Field(
        None, description="Masks of what counts in its images, see `[dataset] roi_dir`."
    )


class EvalConfig(Section):
    """Evaluation."""

    batch_size: int = Field(4, gt=0, description="Images per step of evaluation and inference.")
    bootstrap: int = Field(
        2000, ge=0, description="Number of bootstrap resamples for the 95 % intervals."
    )
    spacing: tuple[PositiveNumber, PositiveNumber] | None = Field(
        None,
        description="Pixel size of the images [row, column] in mm, or one number; without it, "
        "distances are in pixels.",
    )
    tolerance: float = Field(
        2.0,
        ge=0,
        description="Distance up to which two surfaces agree (NSD), in mm, or in pixels without "
        "`spacing`; use the disagreement between two human readers.",
    )
    lesion_sizes: list[Positive] = Field(
        [10, 100, 1000],
        description="Bounds in pixels between the size classes in which lesions are counted.",
    )
    object_iou: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Smallest IoU at which a predicted object matches one of the reference "
        "(small ones also match by their centres); 0: one common pixel is enough.",
    )

    @field_validator("spacing", mode="before")
    @classmethod
    def _square(cls, spacing: object) -> object:
        return (spacing, spacing) if isinstance(spacing, int | float) else spacing

    @field_validator("lesion_sizes")
    @classmethod
    def _rising(cls, sizes: list[int]) -> list[int]:
        if sizes != sorted(set(sizes)):
            raise ValueError(f"the sizes {sizes} must be in ascending order")
        return sizes


def _as_code(value: object) -> object:
    """A coded concept as `scheme:value:meaning`, from a table of these too."""
    if isinstance(value, dict):
        keys = ("scheme", "value", "meaning")
        if set(value) != set(keys):
            raise ValueError(f"a code needs the keys {', '.join(keys)}, not {', '.join(value)}")
        value = ":".join(str(value[key]) for key in keys)
    if value is None or not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(":", 2)]
    if len(parts) < 3 or not all(parts):
        raise ValueError(
            f"{value!r} is not a code: write scheme:value:meaning, e.g. 'SCT:10200004:Liver'"
        )
    if any(not text.isprintable() or "\\" in text for text in parts):
        raise ValueError(f"a code cannot hold a backslash or control characters: {value!r}")
    for name, text, most in zip(("scheme", "value", "meaning"), parts, (16, 64, 64), strict=True):
        if len(text) > most:
            raise ValueError(f"the {name} of a code has {most} characters at most: {text!r}")
    return ":".join(parts)


Code = Annotated[str, BeforeValidator(_as_code)]


class ClassConfig(Section):
    """One class of the masks."""

    id: int = Field(ge=0, le=254, description="Class id, 0 is the background.")
    name: str = Field("", description="Name in tables and legends.")
    color: Color = Field(description="RGB colour in masks and predictions, [r, g, b] or '#rrggbb'.")
    more_colors: list[Color] = Field([], description="Further colours that mean this class.")
    values: Annotated[list[int], BeforeValidator(as_list)] = Field(
        [], description="Grey or index values that mean this class in one-channel masks."
    )
    in_masks: bool = Field(
        True,
        description="Whether masks can show it; false for a channel of the network that occurs "
        "in no mask, as when an old config has more num_classes than colours.",
    )
    code: Code | None = Field(
        None,
        description="What the class is, for DICOM: 'scheme:value:meaning' of a coding scheme "
        "(SCT is SNOMED CT), e.g. 'SCT:10200004:Liver', or a table of these three.",
    )
    category: Code | None = Field(
        None,
        description="Category of `code`, in the same form; by default 'SCT:123037004:Anatomical "
        "Structure'.",
    )

    @model_validator(mode="after")
    def _category_of_a_code(self) -> ClassConfig:
        if self.category and not self.code:
            raise ValueError("category belongs to a code: set code as well")
        return self


class InspectConfig(Section):
    """What `flexseg inspect` writes."""

    model_graph: OutputPath = Field(Path("model.png"), description="Picture of the layers.")
    summary: OutputPath = Field(Path("summary.txt"), description="Table of the layers.")


Mark = Annotated[int, Field(strict=True)] | Color
Marks = Annotated[list[Mark], BeforeValidator(as_list)]


class MaskConfig(Section):
    """How masks are read."""

    mask_file_format: str = Field("auto", description="'.png', '.npz', ... or 'auto' for any.")
    classes: list[ClassConfig] = Field(
        [], description="The classes; without them, there is one class, and bright is foreground."
    )
    unknown_colors: Literal["nearest", "error"] = Field(
        "error",
        description="Pixels of no class: assign them to the nearest colour, or refuse the mask.",
    )
    threshold: float | None = Field(
        None,
        ge=0,
        description="One class: lowest grey value of the foreground. By default 128 if the file "
        "is lossy or reaches 128, else 1.",
    )
    algorithm: Literal["otsu", "triangle"] | None = Field(
        None, description="One class: choose the threshold of each mask by this method."
    )
    ignore: Marks = Field(
        [],
        description="Values (255) and colours ('#e0e0c0') of mask pixels that count in no loss, "
        "metric or statistic, e.g. the void of PASCAL VOC.",
    )
    annotated_only: bool = Field(
        False,
        description="Only annotated pixels count: what is 0 or black is ignored. The background, "
        "if there is one, is a class 0 that is drawn too, with a value or colour of its own.",
    )

    @property
    def ignored_marks(self) -> list[int | tuple[int, int, int]]:
        """Values and colours of pixels that count in nothing."""
        return [*self.ignore, *((0,) if self.annotated_only else ())]

    @model_validator(mode="after")
    def _ignored_is_no_class(self) -> MaskConfig:
        drawn = [c for c in self.classes if c.values or any(c.color)]
        if self.annotated_only and len(drawn) < 2:
            raise ValueError(
                "annotated_only needs two drawn classes, of which one may be the background: give "
                "class 0 a value, or a colour other than black, in mask.classes"
            )
        for c in self.classes:
            colors = {c.color, *c.more_colors}
            greys = set() if c.values else {red for red, g, b in colors if red == g == b}
            both = [m for m in self.ignored_marks if m in {*c.values, *greys} | colors]
            if both:
                raise ValueError(f"{both[0]} is both ignored and the class {c.id} {c.name}")
        return self


class ImageConfig(Section):
    """How images are read."""

    color_order: Literal["RGB", "BGR"] = Field("RGB", description="Channel order of the network.")
    file_format: str = Field("auto", description="'NPY' for arrays, 'auto' for any.")
    window: tuple[float, float] | None = Field(
        None,
        description="Intensities [low, high] that become 0..255 (CT: e.g. [-160, 240] in HU). "
        "Without it, 8-bit images stay as they are, and wider integers are scaled from their "
        "range.",
    )
    channel_files: bool = Field(
        False,
        description="New images and volumes have a file for each of the model.image_channels, "
        "named <image>_0000, <image>_0001, ...",
    )
    color_converter: str | None = Field(
        None, description="OpenCV conversion from BGR, e.g. 'cv2.COLOR_BGR2HSV_FULL'."
    )
    gamma: float = Field(0, ge=0, description="> 0: v becomes 255 (v/255)^gamma.")
    sharpening: float = Field(0, ge=0, description="> 0: strength of a 3x3 sharpening filter.")
    patch_scale: float | None = Field(
        None,
        gt=0,
        le=1,
        description="The network sees patches of image_width x image_height of the images times "
        "this scale (1: at their own size), at random places in training; predictions are made "
        "with overlapping windows. Without it, whole images are resized to the network.",
    )

    @field_validator("window")
    @classmethod
    def _ascending(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and not window[0] < window[1]:
            raise ValueError(f"the window {list(window)} must be [low, high] with low < high")
        return window


class SegmentationConfig(Section):
    """Colours of one-class predictions."""

    colorize: bool = Field(False, description="One class: also write a colourised mask.")
    black: str = Field("black", description="Colour of the background.")
    white: str = Field("white", description="Colour of the foreground.")


@dataclass(frozen=True)
class DataSections:
    """The sections of a config that say where cases are, how they pair, and who trains."""

    dataset: DatasetConfig
    train: TrainConfig
    valid: SplitConfig
    test: SplitConfig
    image: ImageConfig
    mask: MaskConfig
    volume: VolumeConfig

    @property
    def with_folders(self) -> tuple[DatasetConfig | TrainConfig | SplitConfig, ...]:
        """The sections that name folders of images, masks and regions."""
        return (self.dataset, self.train, self.valid, self.test)


@dataclass(frozen=True)
class ClassSections:
    """What of a config says which classes there are, and how masks show them.

    Attributes
    ----------
    regions : masks of their own say what counts.
    """

    mask: MaskConfig
    num_classes: int
    segmentation: SegmentationConfig
    regions: bool = False

    @property
    def ignores(self) -> bool:
        """Some pixels may count in nothing."""
        return self.regions or bool(self.mask.ignored_marks)


class Experiment(Section):
    """Everything that one config file says."""

    model: SerializeAsAny[ModelConfig] = Field(default_factory=lambda: parse_section({}))
    dataset: DatasetConfig = DatasetConfig()
    train: TrainConfig = TrainConfig()
    valid: SplitConfig = SplitConfig()
    test: SplitConfig = SplitConfig()
    eval: EvalConfig = EvalConfig()
    infer: InferConfig = InferConfig()
    tiledinfer: TiledInferConfig = TiledInferConfig()
    infer3d: Infer3dConfig = Infer3dConfig()
    postprocess: PostprocessConfig = PostprocessConfig()
    volume: VolumeConfig = VolumeConfig()
    inspect: InspectConfig = InspectConfig()
    image: ImageConfig = ImageConfig()
    mask: MaskConfig = MaskConfig()
    segmentation: SegmentationConfig = SegmentationConfig()
    generator: GeneratorConfig = GeneratorConfig()
    augmentor: AugmentorConfig = AugmentorConfig()
    deformation: DeformationConfig = DeformationConfig()
    distortion: DistortionConfig = DistortionConfig()
    barrdistortion: RadialConfig = RadialConfig()
    pincdistortion: PincushionConfig = PincushionConfig()
    sharpening: SharpeningConfig = SharpeningConfig()
    brightening: BrighteningConfig = BrighteningConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    tune: TuneConfig = TuneConfig()

    @field_validator("model", mode="before")
    @classmethod
    def _with_options(cls, model: object, info: ValidationInfo) -> object:
        """As the class that the context gives for it, else as that of the network it names."""
        if not isinstance(model, Mapping):
            return model
        kind: type[ModelConfig] | None = (info.context or {}).get("model")
        return kind.model_validate(model) if kind else parse_section(model)

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

    @model_validator(mode="after")
    def _channels_hold_the_neighbours(self) -> Experiment:
        n, channels = self.volume.neighbours, self.model.image_channels
        if n and channels != 2 * n + 1:
            raise ValueError(
                f"volume.neighbours = {n} needs model.image_channels = {2 * n + 1} (a slice and "
                f"{n} on each side), not {channels}"
            )
        return self

    @model_validator(mode="after")
    def _regions_are_of_images(self) -> Experiment:
        if self.volume.images_dir is not None and self.class_sections.regions:
            raise ValueError(
                "with volume.images_dir, whole volumes are scored, to which ignore_dir and "
                "roi_dir, masks of images, do not apply: mark what is ignored in the label "
                "volumes (mask.ignore), or leave volume.images_dir out and score slices"
            )
        return self

    @model_validator(mode="after")
    def _patches_are_of_single_images(self) -> Experiment:
        if self.volume.neighbours and self.image.patch_scale is not None:
            raise ValueError(
                "image.patch_scale cuts patches from single images, but volume.neighbours shows "
                "stacks of slices: set volume.neighbours = 0, or leave image.patch_scale out"
            )
        return self

    @model_validator(mode="after")
    def _pairs_can_be_written(self) -> Experiment:
        writes = self.trained_variants is not None and self.generator.debug
        on_device = self.augmentation.augment_on == "device" and not self.augmentation.enabled
        if writes and on_device:
            raise ValueError(
                "generator.debug writes the pairs that the workers make, but "
                "augmentation.augment_on = 'device' makes them on the device"
            )
        return self

    @property
    def data(self) -> DataSections:
        """The sections that say which cases there are."""
        return DataSections(**{f.name: getattr(self, f.name) for f in fields(DataSections)})

    @property
    def class_sections(self) -> ClassSections:
        """The sections that say which classes there are."""
        regions = any(s.ignore_dir or s.roi_dir for s in self.data.with_folders)
        return ClassSections(self.mask, self.model.num_classes, self.segmentation, regions)

    @property
    def variants(self) -> VariantSections:
        """The sections of the originals' augmentation."""
        sections = {name: getattr(self, name) for name in AUGMENTOR_SECTIONS}
        return VariantSections(**sections, channels=self.model.image_channels)

    @property
    def trained_variants(self) -> VariantSections | None:
        """`variants` where they count in a training: if it draws random batches."""
        return self.variants if self.model.generator and self.generator.augmentation else None

    @property
    def is_binary(self) -> bool:
        """One class against the background: one sigmoid channel."""
        return self.model.num_classes == 1
