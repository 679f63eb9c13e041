"""`flexseg derive`: datasets of images and masks from other layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import (
    MaskNameOption,
    MasksOption,
    MaskValuesOption,
    answers_of,
    app,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.derive_options import (
    EmptyOption,
    IgnoreOption,
    ImagesOfAnnotations,
    KeptBitsOption,
    KeptWindowOption,
    LabelOption,
    MaskColorsOption,
    OutputOption,
    PatientOption,
    deriving,
    one_of,
    tell,
)
from flexseg.cli.sharing import RayOption, SharingOption
from flexseg.cli.switches import Group
from flexseg.errors import ConfigError

derive_app = typer.Typer(
    cls=Group,
    name="derive",
    help="Make a dataset (images/, masks/, manifest) from volumes and other layouts.",
    no_args_is_help=True,
)
app.add_typer(derive_app, rich_help_panel=Task.LOOK)


@long_command(Task.LOOK, into=derive_app)
def volumes(
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES", help="Folder of volumes or DICOM series, or a single one."
        ),
    ],
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="Folder of label volumes, or a single one.")
    ],
    output: OutputOption,
    axis: Annotated[
        str,
        typer.Option(
            metavar="AXIS",
            help="Anatomical, as radiologists see them: axial, coronal, sagittal, several with "
            "commas, or all. As stored in the file: axis 0, 1 or 2.",
        ),
    ] = "axial",
    window: Annotated[
        str,
        typer.Option(
            metavar="NAME|CENTRE/WIDTH",
            help="How values become grey levels. CT: lung, abdomen, liver, mediastinum, bone, "
            "brain, or e.g. 40/400. MRI: percentile\\[:LOW,HIGH] or zscore[:N] of each volume. "
            "Also: full (lowest to highest value), none (as stored).",
        ),
    ] = "percentile",
    bits: Annotated[int, typer.Option(metavar="8|16", help="Bits per pixel of the images.")] = 8,
    rotate: Annotated[
        int, typer.Option(metavar="0|90|180|270", help="Rotate the slices clockwise by this angle.")
    ] = 0,
    empty_every: EmptyOption = 1,
    label: LabelOption = None,
    ignore: IgnoreOption = None,
    image_name: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Path of a volume below IMAGES.",
            show_default="found in the names",
        ),
    ] = None,
    label_name: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Path of its labels below LABELS, e.g. '{id}_seg'; * for any.",
            show_default="found in the names",
        ),
    ] = None,
    geometry: Annotated[
        str,
        typer.Option(
            metavar="strict|voxels|resample",
            help="Labels on another grid than their image: refuse them (strict), take them voxel "
            "by voxel, or resample them by position (nearest neighbour).",
        ),
    ] = "strict",
    channel: Annotated[
        int | None, typer.Option(min=0, help="Volume of 4-D images, counted from 0.")
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(help="DICOM series of a folder: part of its description or UID."),
    ] = None,
    key: Annotated[
        str, typer.Option(metavar="NAME", help="Dataset of the images in HDF5 files.")
    ] = "image",
    label_key: Annotated[
        str, typer.Option(metavar="NAME", help="Dataset of the labels in HDF5 files.")
    ] = "image",
    patient: PatientOption = None,
    mask_colors: MaskColorsOption = False,
    workers: SharingOption = None,
    ray: RayOption = None,
) -> None:
    """Cut volumes and label volumes (NIfTI, MHA, NRRD, DICOM, NPY, HDF5) into slices.

    The slices are named <volume>_<slice>.png, or <volume>_<axis>_<slice>.png for several axes.
    Axial slices are numbered from the feet to the head.
    """
    from flexseg.derive.class_options import parse_ignored, parse_labels
    from flexseg.derive.volumes import VolumeOptions, derive_volumes
    from flexseg.files.intensity import Intensity
    from flexseg.files.volumes.geometry import GeometryRule
    from flexseg.files.volumes.slices import SliceAxis, parse_axes

    one_of(rotate, (0, 90, 180, 270), "--rotate")
    one_of(bits, (8, 16), "--bits")
    one_of(geometry, tuple(map(str, GeometryRule)), "--geometry")
    options = VolumeOptions(
        axes=tuple(SliceAxis(name, rotate) for name in parse_axes(axis)),
        intensity=Intensity.parse(window),
        bits=bits,
        empty_every=empty_every,
        labels=parse_labels(label or ()),
        ignored=parse_ignored(ignore or ()),
        geometry=GeometryRule(geometry),
        channel=channel,
        series=series,
        key=key,
        label_key=label_key,
        patient=patient,
        mask_colors=mask_colors,
    )
    with deriving("Cutting slices", output, workers, ray) as on_done:
        derived = derive_volumes(
            images,
            labels,
            output,
            options,
            image_name=image_name,
            label_name=label_name,
            on_done=on_done,
        )
    tell(derived, "slice")


@long_command(Task.LOOK, into=derive_app)
def folders(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of images.")],
    masks: Annotated[
        Path, typer.Argument(metavar="MASKS", help="Folder of masks; may be the folder of images.")
    ],
    output: OutputOption,
    image_name: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Path of an image below IMAGES, e.g. '{id}/scan'.",
            show_default="found in the names",
        ),
    ] = None,
    mask_name: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            show_default="found in the names",
            help="Path of its mask below MASKS, e.g. '{id}_mask.png'. With *, as in '{id}/*', "
            "one mask per instance; together they form one class.",
        ),
    ] = None,
    class_name: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME=PATTERN",
            help="A class that has masks of its own, e.g. 'liver={id}_liver'; may be repeated. "
            "Later classes cover earlier ones.",
        ),
    ] = None,
    color: Annotated[
        list[str] | None,
        typer.Option(
            "--color",
            metavar="R,G,B=NAME",
            help="Class of a colour, e.g. 255,0,0=lesion; may be repeated.",
        ),
    ] = None,
    label: LabelOption = None,
    ignore: IgnoreOption = None,
    threshold: Annotated[
        float | None, typer.Option(help="For one class: lowest grey value of the foreground.")
    ] = None,
    mask_values: MaskValuesOption = None,
    unknown: Annotated[
        str,
        typer.Option(
            metavar="error|background|nearest",
            help="What to do with mask colours or values of no class.",
        ),
    ] = "error",
    window: KeptWindowOption = "none",
    bits: KeptBitsOption = None,
    empty_every: EmptyOption = 1,
    patient: PatientOption = None,
    mask_colors: MaskColorsOption = False,
    workers: SharingOption = None,
    ray: RayOption = None,
) -> None:
    """Convert images and masks in another layout.

    Without --class, --color, --label or --threshold every value or colour of the masks is a
    class.
    """
    from flexseg.derive.class_options import (
        parse_class_names,
        parse_colors,
        parse_ignored,
        parse_labels,
    )
    from flexseg.derive.folders import FolderOptions, derive_folders
    from flexseg.derive.mask_codes import Unknown
    from flexseg.files.intensity import Intensity

    one_of(unknown, tuple(map(str, Unknown)), "--unknown")
    one_of(bits, (None, 8, 16), "--bits")
    options = FolderOptions(
        image_name=image_name,
        mask_name=mask_name,
        class_names=parse_class_names(class_name or ()),
        colors=parse_colors(color or ()),
        labels=parse_labels(label or ()),
        ignored=parse_ignored(ignore or ()),
        threshold=threshold,
        mask_values=answers_of(None, None, mask_values).mask_values,
        unknown=Unknown(unknown),
        intensity=Intensity.parse(window),
        bits=bits,
        empty_every=empty_every,
        patient=patient,
        mask_colors=mask_colors,
    )
    with deriving("Writing images", output, workers, ray) as on_done:
        derived = derive_folders(images, masks, output, options, on_done=on_done)
    tell(derived, "image")


@long_command(Task.LOOK, into=derive_app)
def arrays(
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES", help="images.npy, a .mat file, or a folder of .mat files."
        ),
    ],
    masks: Annotated[
        Path | None, typer.Argument(metavar="[MASKS]", help="masks.npy, if the images are .npy.")
    ] = None,
    *,
    output: OutputOption,
    class_name: Annotated[
        list[str] | None,
        typer.Option(
            "--class", metavar="NAME", help="Name of the next class, in order; may be repeated."
        ),
    ] = None,
    image_key: Annotated[
        str | None,
        typer.Option(help="Name of the images' array in .mat files.", show_default="found by name"),
    ] = None,
    mask_key: Annotated[
        str | None,
        typer.Option(help="Name of the masks' array in .mat files.", show_default="found by name"),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|CENTRE/WIDTH",
            help="How values become grey levels, see `derive volumes`.",
            show_default="as stored; for .mat files, the lowest to the highest value",
        ),
    ] = None,
) -> None:
    """Write arrays as images and masks: images.npy with masks.npy (PanNuke), MATLAB files."""
    from flexseg.derive.array_files import derive_arrays
    from flexseg.files.intensity import Intensity

    with deriving("Writing images", output) as on_done:
        derived = derive_arrays(
            images,
            masks,
            output,
            class_names=class_name or (),
            image_key=image_key,
            mask_key=mask_key,
            intensity=Intensity.parse(window) if window else None,
            on_done=on_done,
        )
    tell(derived, "image")


@long_command(Task.LOOK, "annotations", into=derive_app)
def exported_annotations(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="ANNOTATIONS",
            help="Export of an annotation tool: a file, or a folder of files. COCO, YOLO, LabelMe, "
            "Supervisely, CVAT for images, Label Studio, GeoJSON (QuPath).",
        ),
    ],
    images: ImagesOfAnnotations,
    output: OutputOption,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            show_default="detected",
            help="Format: coco, yolo, labelme, supervisely, cvat, label-studio or geojson.",
        ),
    ] = None,
    window: KeptWindowOption = "none",
    bits: KeptBitsOption = None,
    empty_every: EmptyOption = 1,
    patient: PatientOption = None,
    mask_colors: MaskColorsOption = False,
    workers: SharingOption = None,
    ray: RayOption = None,
) -> None:
    """Turn the exports of annotation tools into masks.

    Classes are numbered 1, 2, ... in the order of the export. Images without
    annotations are all background.
    """
    from flexseg.derive.annotations.annotated_dataset import AnnotationOptions, derive_annotations
    from flexseg.files.intensity import Intensity

    one_of(bits, (None, 8, 16), "--bits")
    options = AnnotationOptions(
        intensity=Intensity.parse(window),
        bits=bits,
        empty_every=empty_every,
        patient=patient,
        mask_colors=mask_colors,
    )
    with deriving("Writing images", output, workers, ray) as on_done:
        derived = derive_annotations(
            source, images, output, options, format_name=format_name, on_done=on_done
        )
    tell(derived, "image")


@long_command(Task.LOOK, into=derive_app)
def coco(
    source: Annotated[
        Path, typer.Argument(metavar="ANNOTATIONS", help="COCO instance file (JSON).")
    ],
    images: ImagesOfAnnotations,
    output: OutputOption,
    window: KeptWindowOption = "none",
    bits: KeptBitsOption = None,
    empty_every: EmptyOption = 1,
    patient: PatientOption = None,
    mask_colors: MaskColorsOption = False,
    workers: SharingOption = None,
    ray: RayOption = None,
) -> None:
    """Turn COCO polygons and run-length encodings into masks: `derive annotations --format coco`.

    Categories become classes 1, 2, ... in the order of their ids.
    """
    exported_annotations(
        source,
        images,
        output,
        "coco",
        window,
        bits,
        empty_every,
        patient,
        mask_colors,
        workers,
        ray,
    )


@long_command(Task.LOOK, into=derive_app)
def tiles(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET", help="Folder of images and masks, as `flexseg plan` takes it."
        ),
    ],
    output: OutputOption,
    size: Annotated[
        str, typer.Option(metavar="N|WIDTHxHEIGHT", help="Size of the tiles in pixels.")
    ] = "512",
    overlap: Annotated[
        int, typer.Option(min=0, help="Overlap of neighbouring tiles in pixels.")
    ] = 0,
    empty_every: EmptyOption = 1,
    masks: MasksOption = None,
    mask_name: MaskNameOption = None,
    patient: PatientOption = None,
    ignore: Annotated[
        Path | None,
        typer.Option(help="Folder of masks of what is ignored, see [dataset] ignore_dir."),
    ] = None,
    roi: Annotated[
        Path | None, typer.Option(help="Folder of masks of what counts, see [dataset] roi_dir.")
    ] = None,
    region_name: Annotated[
        str, typer.Option(help="Stem of the files in --ignore and --roi, e.g. '{id}_mask'.")
    ] = "{id}",
    workers: SharingOption = None,
    ray: RayOption = None,
) -> None:
    """Cut large images and their masks into tiles.

    The tiles are named <image>_y<top>_x<left>.png. Tiles at the border are moved
    inwards, so that all have one size.
    """
    from flexseg.dataset.cases import Regions
    from flexseg.derive.tiles import TileOptions, derive_tiles

    width, _, height = size.lower().partition("x")
    if not width.isdigit() or not (height or width).isdigit():
        raise ConfigError(f"{size!r} is not a size.", "Give 512 or WIDTHxHEIGHT.", "--size")
    options = TileOptions(
        size=(int(height or width), int(width)),
        overlap=overlap,
        empty_every=empty_every,
        answers=answers_of(masks, mask_name),
        patient=patient,
        regions=Regions((ignore,) if ignore else (), (roi,) if roi else (), region_name),
    )
    with deriving("Cutting tiles", output, workers, ray) as on_done:
        derived = derive_tiles(dataset, output, options, on_done=on_done)
    tell(derived, "tile")
