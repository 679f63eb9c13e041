"""COCO annotations (instances as polygons or run lengths) as label maps and as a dataset.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import group_of
from flexseg.dataset.grouping import find_group
from flexseg.dataset.labels import make_classes
from flexseg.dataset.parallel import Progress, run_parallel
from flexseg.dataset.volumetric.pairing import file_name
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
from flexseg.files.json_file import read_json
from flexseg.outputs import refuse_overlap

_AS_STORED = Intensity("none")


def fill_polygon(points: Sequence[float], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels [H, W] whose centres lie within a polygon (even-odd rule).

    Parameters
    ----------
    points : x0, y0, x1, y1, ...; pixel (row, column) covers [column, column + 1] x
        [row, row + 1].
    """
    height, width = shape
    xy = np.asarray(points, np.float64).reshape(-1, 2)
    toggles = np.zeros((height, width + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(xy, np.roll(xy, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        low, high = sorted((y0, y1))
        rows = np.arange(max(0, np.ceil(low - 0.5)), min(height, np.ceil(high - 0.5)), dtype=int)
        crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)
        np.add.at(toggles, (rows, columns), 1)
    return (np.cumsum(toggles, axis=1)[:, :width] % 2).astype(bool)


def decode_run_lengths(counts: Sequence[int] | str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask [H, W] from run lengths down the columns, of zeros and ones in turn.

    Parameters
    ----------
    counts : numbers, or COCO's compressed text (signed base-32 numbers of 5 bits a letter,
        from the fourth on differences to the number two before).

    Raises
    ------
    ValueError : the runs do not add up to the size.
    """
    runs = _uncompressed(counts) if isinstance(counts, str) else [int(c) for c in counts]
    if sum(runs) != shape[0] * shape[1] or min(runs, default=0) < 0:
        raise ValueError(f"the run lengths add up to {sum(runs)}, expected {shape[0] * shape[1]}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape[::-1]).T


def _uncompressed(text: str) -> list[int]:
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii"):
        digit = letter - 48
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


@dataclass(frozen=True)
class CocoAnnotation:
    """An object: its own id, that of its category, and its outline as the file has it."""

    id: object
    category: int
    segmentation: Any


@dataclass(frozen=True)
class CocoCase:
    """One image of a COCO file, its (height, width) if given, and its annotations."""

    id: str
    image: Path
    size: tuple[int | None, int | None]
    annotations: tuple[CocoAnnotation, ...]


@dataclass(frozen=True)
class CocoFile:
    """What a COCO file says.

    Attributes
    ----------
    categories : category id -> name, by ascending id.
    cases : the images that are there.
    missing : images listed, but not found.
    without_outline : number of annotations without segmentation (boxes, key points).
    """

    categories: dict[int, str]
    cases: tuple[CocoCase, ...]
    missing: tuple[str, ...] = ()
    without_outline: int = 0


def read_coco(path: Path, images: Path) -> CocoFile:
    """Read a COCO instance file; image files are looked for below `images`.

    Raises
    ------
    DataError : it is no such file, contradicts itself, or none of its images is there.
    """
    try:
        content = read_json(path, "utf-8-sig")
        categories = {int(c["id"]): str(c["name"]) for c in content["categories"]}
        listed = {image["id"]: image for image in content["images"]}
        annotations = [
            (
                _identifier(a["image_id"]),
                CocoAnnotation(a.get("id"), int(a["category_id"]), a.get("segmentation")),
            )
            for a in content["annotations"]
        ]
        if len(listed) < len(content["images"]):
            raise ValueError("an image id occurs twice")
        names = {image_id: str(image["file_name"]) for image_id, image in listed.items()}
    except FileNotFoundError:
        raise DataError("There is no such file.", "Check the path.", str(path)) from None
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"This is no COCO instance file ({type(error).__name__}: {error}).",
            "It must be JSON with the lists images (id, file_name), annotations (image_id, "
            "category_id, segmentation) and categories (id, name).",
            str(path),
        ) from None
    of_image: dict[object, list[CocoAnnotation]] = {image_id: [] for image_id in listed}
    without_outline = 0
    for image_id, annotation in annotations:
        category = annotation.category
        if image_id not in listed or category not in categories:
            what = f"category {category}" if image_id in listed else f"image {image_id}"
            raise DataError(
                f"Annotation {annotation.id} refers to {what}, which is not listed.",
                "Export the annotations again.",
                str(path),
            )
        if annotation.segmentation:
            of_image[image_id].append(annotation)
        else:
            without_outline += 1
    cases, missing = [], []
    for image_id, image in listed.items():
        plain = PurePosixPath(names[image_id].replace("\\", "/"))
        # Tools may store where the file lay on another computer: its name counts then.
        places = (p for p in (images / plain, images / plain.name) if p.is_relative_to(images))
        file = next((place for place in places if _is_file(place)), None)
        if file is None:
            missing.append(str(plain))
            continue
        size = (image.get("height"), image.get("width"))
        case_id = "/".join(part for part in plain.with_suffix("").parts if part not in ("..", "/"))
        cases.append(CocoCase(case_id, file, size, tuple(of_image[image_id])))
    if not cases:
        raise DataError(
            f"None of the {len(listed)} images of {path.name} is there, e.g. "
            f"{next(iter(names.values()), 'none is listed')}.",
            "Give the folder that the file names are relative to.",
            str(images),
        )
    ordered = dict(sorted(categories.items()))
    return CocoFile(ordered, tuple(cases), tuple(missing), without_outline)


def _identifier(value: object) -> object:
    """The value, if it can be one. Raises TypeError otherwise."""
    hash(value)
    return value


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the system
        return False


def coco_labels(
    case: CocoCase, shape: tuple[int, int], class_ids: dict[int, int], where: Path
) -> tuple[NDArray[np.uint8], int]:
    """Class ids [H, W] of an image, and the number of pixels that several classes claim.

    Large objects are painted first, so that small ones on top of them stay.

    Raises
    ------
    DataError : an outline cannot be understood.
    """
    painted = []
    for annotation in case.annotations:
        try:
            mask = _outline(annotation.segmentation, shape)
        except (ValueError, OverflowError, KeyError, TypeError) as error:
            raise DataError(
                f"The outline of annotation {annotation.id} cannot be read ({error}).",
                "Expected polygons [[x0, y0, x1, y1, ...], ...] or run lengths "
                '{"size": [height, width], "counts": ...}.',
                str(where),
            ) from None
        painted.append((int(mask.sum()), class_ids[annotation.category], mask))
    labels = np.zeros(shape, np.uint8)
    overlap = 0
    for _, class_id, mask in sorted(painted, key=lambda p: -p[0]):
        overlap += int((mask & (labels != 0) & (labels != class_id)).sum())
        labels[mask] = class_id
    return labels, overlap


def _outline(segmentation: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(segmentation, dict):
        size = (int(segmentation["size"][0]), int(segmentation["size"][1]))
        if size != shape:
            raise ValueError(f"its size is {size}, the image's {shape} (height, width)")
        return decode_run_lengths(segmentation["counts"], shape)
    mask = np.zeros(shape, bool)
    for polygon in segmentation:
        if len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} numbers")
        if len(polygon) < 6:
            continue  # annotators leave points and lines behind; they have no area
        if not np.isfinite(polygon).all():
            raise ValueError("a polygon with NaN or infinite numbers")
        mask |= fill_polygon(polygon, shape)
    return mask


@dataclass(frozen=True)
class CocoOptions:
    """See `FolderOptions`, whose fields of the same names mean the same."""

    intensity: Intensity = _AS_STORED
    bits: int | None = None
    empty_every: int = 1
    patient: str | None = None
    mask_colors: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class _Written:
    row: Row
    empty: bool
    overlap: int


def derive_coco(
    annotations: Path,
    images: Path,
    output: Path,
    options: CocoOptions | None = None,
    *,
    on_done: Progress | None = None,
) -> Derived:
    """Write the images of a COCO file with label masks as a dataset.

    Category ids become consecutive class ids in their order. Images without annotation are
    background as a whole.

    Raises
    ------
    DataError : something cannot be read or does not fit; nothing is written then.
    ConfigError : an option is wrong, or the output folder holds an input.
    """
    refuse_overlap({"--output": output}, [images, annotations])
    options = options or CocoOptions()
    coco = read_coco(annotations, images)
    stems = [file_name(case.id) for case in coco.cases]
    refuse_equal_names(stems, images)
    group, group_notes = find_group(options.patient, stems)
    classes = make_classes([(name, (i,)) for i, name in coco.categories.items()])
    class_ids = {category: i for i, category in enumerate(coco.categories, start=1)}
    writer = DatasetWriter(output, classes=classes, mask_colors=options.mask_colors)
    with writer:
        write = partial(_write_case, writer, class_ids, group, options, annotations, images)
        written = run_parallel(write, coco.cases, options.workers, on_done)
        removed = writer.thin_out([one.row for one in written if one.empty], options.empty_every)
        rows = [one.row for one in written if one.row[0] not in removed]
        notes = left_out("images are listed but not there", coco.missing)
        overlap = sum(one.overlap for one in written)
        if removed:
            notes.append(f"{len(removed)} images without label left out (--empty-every).")
        if overlap:
            notes.append(f"{overlap} pixels are in several classes; the smallest object has them.")
        if coco.without_outline:
            notes.append(
                f"{coco.without_outline} annotations have no outline (boxes or key points only) "
                "and were left out."
            )
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
            kind="coco",
            parameters=parameters,
            empty=sum(one.empty for one in written) - len(removed),
            group=group,
            notes=[*notes, *group_notes],
        )


def _write_case(
    writer: DatasetWriter,
    class_ids: dict[int, int],
    group: str | None,
    options: CocoOptions,
    annotations: Path,
    images: Path,
    case: CocoCase,
) -> _Written:
    pixels = image_pixels(case.image, options.intensity, options.bits)
    shape = pixels.shape[:2]
    if None not in case.size and case.size != shape:
        raise DataError(
            f"The image is {shape[1]} x {shape[0]} pixels, the annotations say "
            f"{case.size[1]} x {case.size[0]} (width x height).",
            "Give the images that were annotated.",
            str(case.image),
        )
    labels, overlap = coco_labels(case, shape, class_ids, annotations)
    stem = file_name(case.id)
    present = np.unique(labels[labels != 0])
    row = (
        writer.write_image(f"{stem}.png", pixels),
        writer.write_mask(f"{stem}.png", labels),
        group_of(stem, group),
        " ".join(map(str, present)),
        case.image.relative_to(images).as_posix(),
        annotations.name,
    )
    return _Written(row, not len(present), overlap)
