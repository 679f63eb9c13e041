"""The sections of a config about prediction: images, tiles, volumes, what is done afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from flexseg.config.base import (
    InputPath,
    Names,
    OptionalOutputPath,
    OutputPath,
    Pair,
    Section,
    SizePair,
)

_QUARTER_TURNS = {"ROTATE_90_CLOCKWISE": 1, "ROTATE_180": 2, "ROTATE_90_COUNTERCLOCKWISE": 3}


def _without_module(value: object) -> object:
    return value.strip().removeprefix("cv2.") if isinstance(value, str) else value


Rotation = Annotated[
    Literal["ROTATE_90_CLOCKWISE", "ROTATE_180", "ROTATE_90_COUNTERCLOCKWISE"],
    BeforeValidator(_without_module),
]
VolumeFormat = Literal["same", ".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".npy", ".h5"]


class VolumeConfig(Section):
    """How the slices that a network takes are cut from volumes; `flexseg init` fills it in for
    datasets of `flexseg derive volumes`. Part of the trained weights."""

    axis: Literal["axial", "coronal", "sagittal", "0", "1", "2"] = Field(
        "axial",
        description="Direction in which slices are cut; 0, 1, 2: an axis of the file as stored.",
    )
    axes: list[Literal["axial", "coronal", "sagittal"]] = Field(
        [],
        description="All directions on which the network was trained, if there are several; "
        "`axis` is one of them.",
    )
    rotate: Literal[0, 90, 180, 270] = Field(
        0, description="Clockwise rotation of the slices in degrees."
    )
    intensity: str | None = Field(
        None,
        description="How a volume's values become grey levels, by the statistics of the whole "
        "volume, as in `flexseg derive volumes --window`: 'lung', '40/400', 'percentile', "
        "'zscore:4', 'full', 'none'; without it, [image] window applies, or the values are taken "
        "as they are.",
    )
    bits: Literal[8, 16] = Field(
        8, description="Bits of these grey levels, as in `flexseg derive volumes --bits`."
    )
    neighbours: int = Field(
        0,
        ge=0,
        le=8,
        description="2.5-D: number of slices before and after as further channels; [model] "
        "image_channels is then 2 n + 1.",
    )
    images_dir: InputPath = Field(
        None,
        description="The volumes from which the slices were cut; if given, `evaluate` predicts "
        "and scores whole volumes instead of slices.",
    )
    masks_dir: InputPath = Field(None, description="Their label volumes.")

    @model_validator(mode="after")
    def _volumes_with_labels(self) -> VolumeConfig:
        if (self.images_dir is None) != (self.masks_dir is None):
            raise ValueError("images_dir and masks_dir belong together: set both or neither")
        return self

    @model_validator(mode="after")
    def _main_axis_among_all(self) -> VolumeConfig:
        if self.axes and self.axis not in self.axes:
            raise ValueError(f"the axis {self.axis!r} is not among axes = {self.axes}")
        if len(set(self.axes)) < len(self.axes):
            raise ValueError(f"axes = {self.axes} names one twice")
        return self


TTA_VIEWS = ("hflip", "vflip", "rot90", "rot180", "rot270", "transpose", "antitranspose")
TTA_GROUPS = ("flips", "all")


def _is_scale(text: str) -> bool:
    try:
        return 0.5 <= float(text) <= 2
    except ValueError:
        return False


class InferConfig(Section):
    """Prediction of a folder of images."""

    images_dir: InputPath = Field(None, description="Images to predict.")
    output_dir: OutputPath = Field(Path("predictions"), description="Folder for the masks.")
    merged_dir: OptionalOutputPath = Field(None, description="Folder for the overlays.")
    overlay_alpha: float = Field(0.5, ge=0, le=1, description="Opacity of masks in overlays.")
    tta: Names = Field(
        [],
        description="Test-time augmentation: views whose probabilities are averaged with those of "
        "the image itself: hflip, vflip, rot90, rot180, rot270, transpose, antitranspose, "
        "'scale:0.8'; 'flips' and 'all' (every flip and turn that fits) stand for several.",
    )
    engine: Literal["auto", "keras", "openvino", "onnx"] = Field(
        "auto",
        description="What computes the network; 'auto': Keras on an accelerator; on a CPU, the "
        "fastest installed of OpenVINO, ONNX Runtime and Keras. Evaluation uses it too.",
    )
    int8: bool = Field(
        False,
        description="Predict with the 8-bit network of `flexseg quantize --keep` (OpenVINO).",
    )
    probabilities: bool = Field(False, description="Also write class probabilities (npz, float16).")
    threshold: float = Field(
        127,
        ge=0,
        le=255,
        description="One class: foreground is where the probability exceeds this / 255.",
    )
    blur: bool = Field(False, description="Blur the probability map before resizing.")
    ksize: Pair = Field((5, 5), description="Kernel of that blur.")
    mask_colorize: bool = Field(False, description="One class: also write colourised masks.")
    colorized_dir: OptionalOutputPath = Field(None, description="Folder for the colourised masks.")

    @field_validator("tta")
    @classmethod
    def _known_views(cls, views: list[str]) -> list[str]:
        for view in views:
            name, colon, factor = view.partition(":")
            if not colon and name not in (*TTA_VIEWS, *TTA_GROUPS):
                known = ", ".join((*TTA_VIEWS, *TTA_GROUPS, "scale:0.8"))
                raise ValueError(f"{view!r} is not a view of an image; there are {known}")
            if colon and (name != "scale" or not _is_scale(factor)):
                raise ValueError(
                    f"{view!r} is not a view: a scale is a number from 0.5 to 2, e.g. 'scale:0.8'"
                )
        return views


class TiledInferConfig(Section):
    """Prediction of images larger than the network, by overlapping windows."""

    images_dir: InputPath = Field(
        None, description="Images to predict; by default those of [infer]."
    )
    output_dir: OutputPath = Field(Path("predictions_tiled"), description="Folder for the masks.")
    merged_dir: OptionalOutputPath = Field(None, description="Folder for the overlays.")
    overlay_alpha: float = Field(0.5, ge=0, le=1, description="Opacity of masks in overlays.")
    probabilities: bool = Field(False, description="Also write class probabilities (npz, float16).")
    split_size: int | None = Field(
        None,
        gt=0,
        description="Width of a window in pixels of the image; by default that of the network, "
        "so that nothing is resized.",
    )
    overlapping: int | None = Field(
        None,
        ge=0,
        description="Neighbouring windows share twice this many pixels; by default an eighth of "
        "the window.",
    )
    threshold: float | None = Field(
        None,
        ge=0,
        le=255,
        description="One class: foreground is where the probability exceeds this / 255; by "
        "default that of [infer].",
    )
    mask_colorize: bool = Field(False, description="One class: also write colourised masks.")
    colorized_dir: OptionalOutputPath = Field(None, description="Folder for the colourised masks.")

    @property
    def probability(self) -> float | None:
        """`threshold` as a probability from 0 to 1."""
        return None if self.threshold is None else self.threshold / 255


class Infer3dConfig(Section):
    """Prediction of volumes slice by slice. The keys from `slice_shape_order` on are those of the
    original systems."""

    images_dir: InputPath = Field(None, description="Folder of volumes, or one volume.")
    output_dir: OutputPath = Field(Path("predictions_3d"), description="Folder for the results.")
    channel: int | None = Field(
        None,
        ge=0,
        description="Channel of multi-channel volumes, or volume of 4-D files, counted from 0.",
    )
    series: str | None = Field(
        None, description="Part of the description or UID of the DICOM series to use."
    )
    hdf5_key: str = Field("image", description="Name of the dataset in HDF5 files.")
    average_axes: bool = Field(
        False,
        description="Average the probabilities of axial, coronal and sagittal slices; the "
        "network should be trained on all three.",
    )
    tiled: bool = Field(
        False, description="Predict slices at native scale by the windows of [tiledinfer]."
    )
    label_format: VolumeFormat = Field(
        "same",
        description="Suffix of the label volumes; 'same': that of the input (DICOM: .nii.gz).",
    )
    dicom_seg: bool = Field(
        True, description="For DICOM series, also write a DICOM segmentation (extra `dicom`)."
    )
    probabilities: bool = Field(False, description="Also write class probabilities (.nii.gz).")
    previews: list[Literal["png", "mp4", "gif", "html"]] = Field(
        ["png", "html"], description="Make a montage, a video or a browser viewer of each volume."
    )
    slices: bool = Field(False, description="Write slices, masks and overlays as PNG.")
    memory_gb: float = Field(
        2.0,
        ge=0,
        description="Memory for averaged probabilities, in GiB; beyond it, a file is used.",
    )
    slice_shape_order: Literal["hwd", "dhw"] | None = Field(
        None,
        description="Cut slices along the last (hwd) or first (dhw) axis of the array as stored "
        "(NIfTI x, y, z; others z, y, x); by default along [volume] axis.",
    )
    slice_normalize: bool = Field(
        False,
        description="Scale each slice by its own lowest and highest value, regardless of the "
        "volume.",
    )
    slice_resize: SizePair | None = Field(
        None, description="Size (w, h) of slices before the network, and in pictures."
    )
    slice_rotation: Rotation | None = Field(
        None, description="Rotation of the slices, e.g. 'cv2.ROTATE_90_CLOCKWISE'."
    )
    mask_overlay: bool = Field(True, description="Write overlays where slices are written.")
    overlay_alpha: float = Field(0.5, ge=0, description="Overlays: weight of the image.")
    overlay_beta: float = Field(0.5, ge=0, description="Overlays: weight of the class colour.")
    overlay_gamma: float = Field(0.0, description="Overlays: brightness added to mask pixels.")
    video_dir: OptionalOutputPath = Field(
        None, description="Folder for videos `<volume>_<video_type>`; without it, none are made."
    )
    video_fps: int = Field(10, gt=0, description="Frames per second of videos.")
    video_type: Literal["slices", "masks", "overlays"] = Field(
        "overlays", description="What these videos show."
    )
    video_fileformat: Literal[".mp4", ".gif"] = Field(".mp4", description="Their format.")

    @model_validator(mode="after")
    def _one_way_to_cut(self) -> Infer3dConfig:
        if self.slice_shape_order is None:
            if given := [k for k in ("slice_resize", "slice_rotation") if getattr(self, k)]:
                raise ValueError(
                    f"{' and '.join(given)} without slice_shape_order: set that too, to cut "
                    "slices as the original systems do, or use [volume] axis and rotate"
                )
        elif self.average_axes:
            raise ValueError(
                "average_axes takes anatomical axes, slice_shape_order an axis of the file: "
                "set only one of them"
            )
        if self.video_dir is not None and not self.slices:
            raise ValueError("video_dir takes the pictures of slices: set slices = true as well")
        if self.tiled and self.slice_resize:
            raise ValueError("slices that are tiled keep their size: set slice_resize to None")
        return self

    @property
    def quarter_turns(self) -> int:
        """Clockwise quarter turns of `slice_rotation`."""
        return 0 if self.slice_rotation is None else _QUARTER_TURNS[self.slice_rotation]


ClassNames = Annotated[
    bool | list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)
]
Pixels = Annotated[int, Field(ge=0)]


class PostprocessConfig(Section):
    """What is done with predicted labels, in this order; in 3-D for volumes, else in 2-D."""

    largest_component: ClassNames = Field(
        False, description="Keep the largest connected part of every class, or of those named."
    )
    min_size: Pixels | dict[str, Pixels] = Field(
        0, description="Drop parts of fewer pixels (voxels), one number or {class: number}."
    )
    fill_holes: ClassNames = Field(
        False, description="Fill holes of every foreground class, or of those named."
    )
