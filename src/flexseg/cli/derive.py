"""`flexseg derive`: datasets of images and masks from other layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    MaskNameOption,
    MasksOption,
    MaskValuesOption,
    answers_of,
    app,
    progress,
    say,
)
from flexseg.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from flexseg.derive.dataset_writer import Derived

derive_app = typer.Typer(
    help="Make a dataset (images/, masks/, manifest) from volumes and other layouts.",
    no_args_is_help=True,
)
app.add_typer(derive_app, name="derive")

OutputOption = Annotated[
    Path,
    typer.Option("--output", "-o", help="Folder of the new dataset; an earlier one moves aside."),
]
EmptyOption = Annotated[
    int,
    typer.Option(
        "--empty-every", min=0, metavar="N", help="Of what has no label keep every N-th; 0 none."
    ),
]
PatientOption = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Finds the patient in the names of the files written, e.g. '^(p[0-9]+)_'.",
    ),
]
MaskColorsOption = Annotated[
    bool, typer.Option("--mask-colors", help="RGB masks instead of indexed ones.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Files in memory at once.", show_default="number of processors, at most 4"
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="VALUE=NAME",
        help="Class of a label value, e.g. 1=spleen or 2,3=lung; may be repeated. Without it "
        "every value is a class.",
    ),
]
KeptWindowOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|CENTRE/WIDTH",
        help="How values become grey: none (as stored), CENTRE/WIDTH, percentile\\[:LOW,HIGH], "
        "zscore[:N], full.",
    ),
]
KeptBitsOption = Annotated[
    int | None, typer.Option(metavar="8|16", help="Bits of the images.", show_default="as stored")
]

ImagesOfAnnotations = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Folder that the images' names are relative to.")
]


@derive_app.command()
def volumes(
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES", help="Folder of volumes or DICOM series, or one of these."
        ),
    ],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="The same of label volumes.")],
    output: OutputOption,
    axis: Annotated[
        str,
        typer.Option(
            metavar="AXIS",
            help="axial, coronal or sagittal: anatomical, as radiologists see them; several with "
            "commas, or all; or 0, 1, 2: an axis of the file as stored.",
        ),
    ] = "axial",
    window: Annotated[
        str,
        typer.Option(
            metavar="NAME|CENTRE/WIDTH",
            help="How values become grey. CT: lung, abdomen, liver, mediastinum, bone, brain, or "
            "e.g. 40/400. MRI: percentile\\[:LOW,HIGH] or zscore[:N] of each volume. full, none.",
        ),
    ] = "percentile",
    bits: Annotated[int, typer.Option(metavar="8|16", help="Bits of the images.")] = 8,
    rotate: Annotated[
        int, typer.Option(metavar="0|90|180|270", help="Turn the slices clockwise.")
    ] = 0,
    empty_every: EmptyOption = 1,
    label: LabelOption = None,
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
            help="Labels on another grid than their image: an error; taken voxel by voxel; or "
            "carried over by position, nearest neighbour.",
        ),
    ] = "strict",
    channel: Annotated[
        int | None, typer.Option(min=0, help="Which volume of 4-D images, from 0.")
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(help="Which DICOM series of a folder: a part of its description or UID."),
    ] = None,
    key: Annotated[
        str, typer.Option(metavar="NAME", help="Dataset of the images in HDF5 files.")
    ] = "image",
    label_key: Annotated[
        str, typer.Option(metavar="NAME", help="Dataset of the labels in HDF5 files.")
    ] = "image",
    patient: PatientOption = None,
    mask_colors: MaskColorsOption = False,
    workers: WorkersOption = None,
) -> None:
    """Cut volumes and label volumes (NIfTI, MHA, NRRD, DICOM, NPY, HDF5) into slices.

    Names are <volume>_<slice>.png, of several axes <volume>_<axis>_<slice>.png. Axial slices go
    from the feet to the head.
    """
    from flexseg.derive.class_options import parse_labels
    from flexseg.derive.volumes import VolumeOptions, derive_volumes
    from flexseg.files.intensity import Intensity
    from flexseg.files.volumes.geometry import GeometryRule
    from flexseg.files.volumes.slices import SliceAxis, parse_axes

    _one_of(rotate, (0, 90, 180, 270), "--rotate")
    _one_of(bits, (8, 16), "--bits")
    _one_of(geometry, tuple(map(str, GeometryRule)), "--geometry")
    options = VolumeOptions(
        axes=tuple(SliceAxis(name, rotate) for name in parse_axes(axis)),
        intensity=Intensity.parse(window),
        bits=bits,
        empty_every=empty_every,
        labels=parse_labels(label or ()),
        geometry=GeometryRule(geometry),
        channel=channel,
        series=series,
        key=key,
        label_key=label_key,
        patient=patient,
        mask_colors=mask_colors,
        workers=workers,
    )
    with _deriving("Cutting slices", output) as on_done:
        derived = derive_volumes(
            images,
            labels,
            output,
            options,
            image_name=image_name,
            label_name=label_name,
            on_done=on_done,
        )
    _tell(derived, "slices")


@derive_app.command()
def folders(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of images.")],
    masks: Annotated[
        Path, typer.Argument(metavar="MASKS", help="Folder of masks; may be the same.")
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
            "one mask per instance: together they are one class.",
        ),
    ] = None,
    class_name: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME=PATTERN",
            help="One mask per class, e.g. 'liver={id}_liver'; may be repeated. Later classes "
            "cover earlier ones.",
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
    threshold: Annotated[
        float | None, typer.Option(help="One class: foreground from this grey value on.")
    ] = None,
    mask_values: MaskValuesOption = None,
    unknown: Annotated[
        str,
        typer.Option(
            metavar="error|background|nearest", help="Mask colours or values of no class."
        ),
    ] = "error",
    window: KeptWindowOption = "none",
    bits: KeptBitsOption = None,
    empty_every: EmptyOption = 1,
    patient: PatientOption = None,
    mask_colors: MaskColorsOption = False,
    workers: WorkersOption = None,
) -> None:
    """Bring images and masks of another layout into one.

    Without --class, --color, --label or --threshold every value or colour of the masks is a
    class.
    """
    from flexseg.derive.class_options import parse_class_names, parse_colors, parse_labels
    from flexseg.derive.folders import FolderOptions, derive_folders
    from flexseg.derive.mask_codes import Unknown
    from flexseg.files.intensity import Intensity

    _one_of(unknown, tuple(map(str, Unknown)), "--unknown")
    _one_of(bits, (None, 8, 16), "--bits")
    options = FolderOptions(
        image_name=image_name,
        mask_name=mask_name,
        class_names=parse_class_names(class_name or ()),
        colors=parse_colors(color or ()),
        labels=parse_labels(label or ()),
        threshold=threshold,
        mask_values=answers_of(None, None, mask_values).mask_values,
        unknown=Unknown(unknown),
        intensity=Intensity.parse(window),
        bits=bits,
        empty_every=empty_every,
        patient=patient,
        mask_colors=mask_colors,
        workers=workers,
    )
    with _deriving("Writing images", output) as on_done:
        derived = derive_folders(images, masks, output, options, on_done=on_done)
    _tell(derived, "images")


@derive_app.command()
def arrays(
    images: Annotated[
        Path,
        typer.Argument(metavar="IMAGES", help="images.npy; or a .mat file, or a folder of them."),
    ],
    masks: Annotated[
        Path | None, typer.Argument(metavar="[MASKS]", help="masks.npy, if the images are .npy.")
    ] = None,
    *,
    output: OutputOption,
    class_name: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Name of the next class; may be repeated."),
    ] = None,
    image_key: Annotated[
        str | None, typer.Option(help="Array of a .mat file.", show_default="found by name")
    ] = None,
    mask_key: Annotated[
        str | None, typer.Option(help="The same of its mask.", show_default="found by name")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|CENTRE/WIDTH",
            help="How values become grey, see `derive volumes`.",
            show_default="as stored; of .mat files from the lowest to the highest value",
        ),
    ] = None,
) -> None:
    """Write arrays as images and masks: images.npy with masks.npy (PanNuke), MATLAB files."""
    from flexseg.derive.array_files import derive_arrays
    from flexseg.files.intensity import Intensity

    with _deriving("Writing images", output) as on_done:
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
    _tell(derived, "images")


@derive_app.command("annotations")
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
            show_default="found out",
            help="coco, yolo, labelme, supervisely, cvat, label-studio or geojson.",
        ),
    ] = None,
    window: KeptWindowOption = "none",
    bits: KeptBitsOption = None,
    empty_every: EmptyOption = 1,
    patient: PatientOption = None,
    mask_colors: MaskColorsOption = False,
    workers: WorkersOption = None,
) -> None:
    """Turn what annotation tools export into masks.

    Classes are numbered 1, 2, ... in the order of the export. Images without annotation are
    background.
    """
    from flexseg.derive.annotations.annotated_dataset import AnnotationOptions, derive_annotations
    from flexseg.files.intensity import Intensity

    _one_of(bits, (None, 8, 16), "--bits")
    options = AnnotationOptions(
        intensity=Intensity.parse(window),
        bits=bits,
        empty_every=empty_every,
        patient=patient,
        mask_colors=mask_colors,
        workers=workers,
    )
    with _deriving("Writing images", output) as on_done:
        derived = derive_annotations(
            source, images, output, options, format_name=format_name, on_done=on_done
        )
    _tell(derived, "images")


@derive_app.command()
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
    workers: WorkersOption = None,
) -> None:
    """Turn COCO polygons and run lengths into masks: `derive annotations --format coco`.

    Categories become classes 1, 2, ... in the order of their ids.
    """
    exported_annotations(
        source, images, output, "coco", window, bits, empty_every, patient, mask_colors, workers
    )


@derive_app.command()
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
    overlap: Annotated[int, typer.Option(min=0, help="Pixels that neighbours share.")] = 0,
    empty_every: EmptyOption = 1,
    masks: MasksOption = None,
    mask_name: MaskNameOption = None,
    patient: PatientOption = None,
    ignore: Annotated[
        Path | None, typer.Option(help="Folder of masks of what is ignored, see [dataset].")
    ] = None,
    roi: Annotated[
        Path | None, typer.Option(help="Folder of masks of what counts, see [dataset] roi_dir.")
    ] = None,
    region_name: Annotated[
        str, typer.Option(help="Stem of the files in --ignore and --roi, e.g. '{id}_mask'.")
    ] = "{id}",
    workers: WorkersOption = None,
) -> None:
    """Cut large images and their masks into tiles.

    Names are <image>_y<top>_x<left>.png. Tiles at the border are moved inwards, so that all
    have one size.
    """
    from flexseg.dataset.cases import Regions
    from flexseg.derive.tiles import TileOptions, derive_tiles

    width, _, height = size.lower().partition("x")
    if not width.isdigit() or not (height or width).isdigit():
        raise ConfigError(f"{size!r} is no size.", "Give 512 or WIDTHxHEIGHT.", "--size")
    options = TileOptions(
        size=(int(height or width), int(width)),
        overlap=overlap,
        empty_every=empty_every,
        answers=answers_of(masks, mask_name),
        patient=patient,
        regions=Regions((ignore,) if ignore else (), (roi,) if roi else (), region_name),
        workers=workers,
    )
    with _deriving("Cutting tiles", output) as on_done:
        derived = derive_tiles(dataset, output, options, on_done=on_done)
    _tell(derived, "tiles")


@contextmanager
def _deriving(what: str, output: Path) -> Iterator[Callable[[int, int], None]]:
    """A bar, and what an interruption leaves."""
    try:
        with progress(what) as on_done:
            yield on_done
    except KeyboardInterrupt:
        raise Interrupted(
            "Nothing was written.", "Run the same command again.", str(output)
        ) from None


def _one_of(value: object, allowed: tuple[object, ...], option: str) -> None:
    if value not in allowed:
        listed = ", ".join(str(a) for a in allowed if a is not None)
        raise ConfigError(f"{value!r} is not allowed here.", f"Give one of {listed}.", option)


def _tell(derived: Derived, what: str) -> None:
    """What was made, what was left out, and what to do next."""
    say(
        f"{derived.cases} {what} in {derived.output}, "
        f"{derived.cases - derived.empty} with labels and {derived.empty} without."
    )
    if derived.classes:
        say("Classes: " + ", ".join(f"{c.id} {c.name}" for c in derived.classes[1:]))
    for note in derived.notes:
        say(f"- {note}")
    say(f"\nNext: flexseg init {derived.output} -o PROJECT")
    if derived.group:
        say(
            "It writes into PROJECT/flexseg.toml, so that what is of one volume, patient or image "
            f"stays in\none split:\n  group = '{derived.group}'"
        )
    else:
        say(
            "Several images of one patient? Set group under [dataset] in PROJECT/flexseg.toml, a "
            "regular\nexpression that finds the patient in a file name: one patient stays in one "
            "split."
        )
