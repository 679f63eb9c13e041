"""Exports of annotation tools as a dataset of images and label masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.dataset.cases import group_of
from flexseg.dataset.division.grouping import find_group
from flexseg.dataset.labels import make_classes
from flexseg.dataset.layout import split_of_folder
from flexseg.dataset.parallel import Progress, run_parallel
from flexseg.dataset.volumetric.pairing import file_name
from flexseg.derive.annotations import (  # noqa: F401 - they register themselves
    coco,
    cvat,
    geojson,
    label_studio,
    labelme,
    supervisely,
    yolo,
)
from flexseg.derive.annotations.export import AnnotatedImage, ImageIndex, Mark, format_of
from flexseg.derive.dataset_writer import (
    DatasetWriter,
    Derived,
    Row,
    left_out,
    refuse_equal_names,
)
from flexseg.derive.folders import HEADER, image_pixels
from flexseg.errors import DataError
from flexseg.files.intensity import Intensity
from flexseg.outputs import refuse_overlap

_AS_STORED = Intensity("none")


@dataclass(frozen=True)
class AnnotationOptions:
    """See `FolderOptions`, whose fields of the same names mean the same."""

    intensity: Intensity = _AS_STORED
    bits: int | None = None
    empty_every: int = 1
    patient: str | None = None
    mask_colors: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class _Case:
    stem: str
    image: Path
    annotated: AnnotatedImage


@dataclass(frozen=True)
class _Written:
    row: Row
    empty: bool
    overlap: int
    outside: int


def derive_annotations(
    annotations: Path,
    images: Path,
    output: Path,
    options: AnnotationOptions | None = None,
    *,
    format_name: str | None = None,
    on_done: Progress | None = None,
) -> Derived:
    """Write the images of an export with label masks as a dataset.

    Classes get consecutive ids in the order of the export. Images without marks are background
    as a whole.

    Parameters
    ----------
    format_name : a name of `FORMATS`; without one the format is found out.

    Raises
    ------
    DataError : something cannot be read or does not fit; nothing is written then.
    ConfigError : an option is wrong, or the output folder holds an input.
    """
    refuse_overlap({"--output": output}, [images, annotations])
    options = options or AnnotationOptions()
    export = format_of(annotations, format_name).read(annotations, images)
    cases, missing = _found(export.images, images)
    if not cases:
        raise DataError(
            f"None of the {len(export.images)} annotated images is there, e.g. "
            f"{next(iter(missing), 'none is listed')}.",
            "Give the folder to which their names are relative.",
            str(images),
        )
    if export.notes and not any(case.annotated.marks for case in cases):
        raise DataError(
            f"No object in these images has an outline. {' '.join(export.notes)}",
            "Export polygons, masks or brush strokes.",
            str(annotations),
        )
    stems = [case.stem for case in cases]
    refuse_equal_names(stems, images)
    group, group_notes = find_group(options.patient, stems)
    class_ids = {name: i for i, name in enumerate(export.classes, start=1)}
    classes = make_classes([(name, (export.ids.get(name, i),)) for name, i in class_ids.items()])
    writer = DatasetWriter(output, classes=classes, mask_colors=options.mask_colors)
    with writer:
        write = partial(_write_case, writer, class_ids, group, options, images)
        written = run_parallel(write, cases, options.workers, on_done)
        removed = writer.thin_out([one.row for one in written if one.empty], options.empty_every)
        rows = [one.row for one in written if one.row[0] not in removed]
        notes = left_out("Listed images are missing", missing)
        if removed:
            notes.append(
                f"{amount(len(removed), 'image')} without labels "
                f"{'was' if len(removed) == 1 else 'were'} left out (--empty-every)."
            )
        if overlap := sum(one.overlap for one in written):
            notes.append(
                f"{amount(overlap, 'pixel', 'is', 'are')} in several classes; the upper or "
                "smaller one counts."
            )
        if outside := sum(one.outside for one in written):
            notes.append(
                f"{amount(outside, 'mark')} without the centre of any pixel "
                f"{'was' if outside == 1 else 'were'} left out."
            )
        kept = {row[0] for row in rows}
        parts = _parts([c for c, w in zip(cases, written, strict=True) if w.row[0] in kept], images)
        if parts:
            writer.write_split(parts)
        parameters = {
            "annotations": annotations,
            "images": images,
            "intensity": str(options.intensity),
            "bits": options.bits,
            "empty_every": options.empty_every,
            "patient": options.patient,
            "mask_colors": options.mask_colors,
        }
        return writer.finish(
            HEADER,
            rows,
            kind="annotations",
            parameters=parameters,
            empty=sum(one.empty for one in written) - len(removed),
            group=group,
            notes=[*notes, *export.notes, *group_notes],
        )


def _found(listed: Sequence[AnnotatedImage], images: Path) -> tuple[list[_Case], list[str]]:
    """The cases whose image is there, and the names of those that are not."""
    index = ImageIndex(images)
    cases: dict[Path, _Case] = {}
    missing = []
    for one in listed:
        file = index.find(one.name)
        if file is None:
            missing.append(one.name)
            continue
        if file in cases:
            raise DataError(
                f"Its annotations are in {cases[file].annotated.source.name} and again in "
                f"{one.source.name}.",
                "Keep one of them.",
                str(file),
            )
        below = file.relative_to(images).with_suffix("").as_posix()
        cases[file] = _Case(file_name(below), file, one)
    return list(cases.values()), missing


def _parts(cases: Sequence[_Case], images: Path) -> dict[str, list[str]]:
    """Training, validation and test images as their folders say; empty where they do not."""
    parts: dict[str, list[str]] = {}
    for case in cases:
        folders = case.image.relative_to(images).parts[:-1]
        split = next((name for folder in folders if (name := split_of_folder(folder))), None)
        if split is None:
            return {}
        parts.setdefault(split, []).append(case.stem)
    return parts if "train" in parts else {}


def mark_labels(
    marks: Sequence[Mark], shape: tuple[int, int], class_ids: dict[str, int], where: Path
) -> tuple[NDArray[np.uint8], int, int]:
    """Class ids [H, W] of an image, of how many pixels several classes, and marks without pixels.

    Large objects of one level are painted first, so that small ones on top of them stay.

    Raises
    ------
    DataError : an outline cannot be understood.
    """
    painted = []
    for mark in marks:
        try:
            mask = mark.outline.mask(shape)
        except (ValueError, OverflowError, KeyError, TypeError) as error:
            raise DataError(
                f"The outline of {mark.name} ({mark.class_name}) cannot be read: {error}.",
                "Correct it, or export the annotations of these images again.",
                str(where),
            ) from None
        painted.append((mark.level, -int(mask.sum()), class_ids[mark.class_name], mask))
    labels = np.zeros(shape, np.uint8)
    overlap = 0
    for _, _, class_id, mask in sorted(painted, key=lambda p: p[:2]):
        overlap += int((mask & (labels != 0) & (labels != class_id)).sum())
        labels[mask] = class_id
    return labels, overlap, sum(not size for _, size, *_ in painted)


def _write_case(
    writer: DatasetWriter,
    class_ids: dict[str, int],
    group: str | None,
    options: AnnotationOptions,
    images: Path,
    case: _Case,
) -> _Written:
    pixels = image_pixels(case.image, options.intensity, options.bits)
    shape = (pixels.shape[0], pixels.shape[1])
    size = case.annotated.size
    if size is not None and size != shape:
        raise DataError(
            f"The image is {shape[1]} x {shape[0]} pixels, but the annotations say {size[1]} x "
            f"{size[0]} (width x height).",
            "Give the images that were annotated.",
            str(case.image),
        )
    source = case.annotated.source
    labels, overlap, outside = mark_labels(case.annotated.marks, shape, class_ids, source)
    present = np.unique(labels[labels != 0])
    row = (
        writer.write_image(f"{case.stem}.png", pixels),
        writer.write_mask(f"{case.stem}.png", labels),
        group_of(case.stem, group),
        " ".join(map(str, present)),
        case.image.relative_to(images).as_posix(),
        source.name,
    )
    return _Written(row, not len(present), overlap, outside)
