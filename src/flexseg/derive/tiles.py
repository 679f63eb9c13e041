"""Tiles of large images and their masks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount
from flexseg.dataset.candidates.answers import NO_ANSWERS, Answers
from flexseg.dataset.cases import Case, Pairing, Regions, case_mask, group_of
from flexseg.dataset.description import description
from flexseg.dataset.division.grouping import check_group, grouped
from flexseg.dataset.division.split_file import SPLIT_FILE, parts_of_file
from flexseg.dataset.ignored.pixels import IGNORED, IgnoredPixels
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.layout import find_layout
from flexseg.dataset.looks import MaskLook, look_at_mask
from flexseg.dataset.marks.guard import refuse_filled
from flexseg.dataset.marks.label_tables import (
    LabelTable,
    label_table,
    other_background_error,
    table_folders,
)
from flexseg.dataset.meaning import meaning_of
from flexseg.dataset.parallel import Progress, part_of, run_parallel
from flexseg.derive.dataset_writer import DatasetWriter, Derived, Row, ignored_in, left_out
from flexseg.derive.folders import image_pixels
from flexseg.errors import ConfigError, DataError
from flexseg.files.entries import list_files
from flexseg.files.images import IMAGE_SUFFIXES, MaskPixels
from flexseg.files.intensity import Intensity
from flexseg.files.resizing import fitted_mask
from flexseg.outputs import refuse_overlap

HEADER = (
    "image", "mask", "group", "top", "left", "height", "width", "source_image", "source_mask",
)  # fmt: skip
GROUP = r"^(.*)_y\d+_x\d+$"
_AS_STORED = Intensity("none")


@dataclass(frozen=True)
class TileOptions:
    """How images are cut.

    Attributes
    ----------
    size : height and width of the tiles in pixels; smaller images stay whole.
    overlap : pixels that neighbours share, at least.
    empty_every : keep every n-th tile without label of an image; 0 none, 1 all.
    answers : what is said where several things fit.
    patient : regular expression that finds the patient in a tile's name.
    regions : folders of masks of what is ignored, or of what counts.
    workers : images in memory at once, at most.
    """

    size: tuple[int, int] = (512, 512)
    overlap: int = 0
    empty_every: int = 1
    answers: Answers = NO_ANSWERS
    patient: str | None = None
    regions: Regions = field(default_factory=Regions)
    workers: int | None = None

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ConfigError(
                f"Tiles of {self.size[1]} x {self.size[0]} pixels are not possible.",
                "Give 512 or WIDTHxHEIGHT.",
                "--size",
            )
        if not 0 <= self.overlap < min(self.size):
            raise ConfigError(
                f"Tiles of {self.size[1]} x {self.size[0]} pixels cannot overlap by "
                f"{self.overlap}.",
                "Give an overlap of at least 0 that is less than the size.",
                "--overlap",
            )


def tile_starts(length: int, size: int, overlap: int) -> list[int]:
    """Where tiles begin along one side so that they cover it; the last one ends at the border."""
    if length <= size:
        return [0]
    return [*range(0, length - size, size - overlap), length - size]


@dataclass(frozen=True)
class _Source:
    """What is cut into tiles.

    Attributes
    ----------
    cases : each with the split whose folder it is in, or "".
    group : regular expression that finds the group of its image in a tile's name.
    classes : as the dataset's own description says, background first; empty without one.
    table : names of mask values or colours, as other programs describe them.
    ignored : what the dataset's own description says is ignored; None: nothing.
    notes : what was left out or decided, one sentence each.
    """

    folder: Path
    cases: tuple[tuple[str, Case], ...]
    group: str
    classes: tuple[LabelClass, ...]
    table: LabelTable
    ignored: IgnoredPixels | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Written:
    rows: list[Row]
    empty: int
    dropped: int
    small: bool


def derive_tiles(
    dataset: Path,
    output: Path,
    options: TileOptions | None = None,
    *,
    on_done: Progress | None = None,
) -> Derived:
    """Cut the images and masks of a dataset into tiles.

    The dataset may have any layout that `flexseg.dataset.layout` knows; its splits stay. Masks
    keep their values and colours; with regions they hold class ids.

    Parameters
    ----------
    on_done : told (done, total): every case counts twice, as all masks are surveyed first.

    Raises
    ------
    DataError : something cannot be read or does not fit; nothing is written then.
    ConfigError : an option is wrong, or the output folder holds an input.
    """
    refuse_overlap({"--output": output}, [dataset])
    options = options or TileOptions()
    source = _find(dataset, options)
    cases = source.cases
    given, split_notes = _given_split(source)
    labels = _labels(
        source, [case for _, case in cases], options.workers, part_of(on_done, 0, 2 * len(cases))
    )
    splits = dict.fromkeys(split for split, _ in cases)
    classes, ignored = source.classes, source.ignored
    if options.regions.folders:  # their masks and those of the classes become one
        classes, ignored = labels.classes, ignored_in(mask_colors=False)
        labels = replace(labels, ignored=labels.ignored or IgnoredPixels())
    with DatasetWriter(output, classes=classes, splits=splits, ignored=ignored) as writer:
        write = partial(_write_tiles, writer, options, labels, source)
        progress = part_of(on_done, len(cases), 2 * len(cases))
        written = run_parallel(write, cases, options.workers, progress)
        rows = [row for one in written for row in one.rows]
        dropped = sum(one.dropped for one in written)
        notes = (
            [
                f"{amount(dropped, 'tile')} without labels {'was' if dropped == 1 else 'were'} "
                "left out (--empty-every)."
            ]
            if dropped
            else []
        )
        small = [case.id for (_, case), one in zip(cases, written, strict=True) if one.small]
        notes += left_out("Images smaller than a tile stay as they are", small)
        if given:
            of_case = {
                case.id: [Path(row[0]).stem for row in one.rows]
                for (_, case), one in zip(cases, written, strict=True)
            }
            writer.write_split(
                {name: [tile for i in ids for tile in of_case[i]] for name, ids in given.items()}
            )
        return writer.finish(
            HEADER,
            rows,
            kind="tiles",
            parameters={
                "dataset": dataset,
                "height": options.size[0],
                "width": options.size[1],
                "overlap": options.overlap,
                "empty_every": options.empty_every,
                "masks": options.answers.masks,
                "mask_name": options.answers.mask_name,
                "patient": options.patient,
                "ignore": options.regions.ignore,
                "roi": options.regions.roi,
                "region_name": options.regions.name,
            },
            empty=sum(one.empty for one in written),
            group=source.group,
            notes=[*notes, *split_notes, *source.notes],
            names=source.table.names_of(()),
        )


def _find(dataset: Path, options: TileOptions) -> _Source:
    """Images and masks of a dataset, whatever its layout is.

    Raises
    ------
    DataError : nothing pairs.
    ConfigError : `--patient` does not fit.
    """
    layout = find_layout(dataset, options.answers)
    described = description(dataset)
    pairings, pattern, reason = grouped(layout.pair(), None, described)
    cases = tuple(
        (split, case) for split, own in pairings.items() for case in options.regions.of(own.cases)
    )
    if not cases:
        raise DataError(
            "No image has a mask of the same name.",
            "Give --mask-name, e.g. '{id}_mask', or convert the dataset with `flexseg derive "
            "folders` first.",
            str(dataset),
        )
    notes = list(layout.notes)
    for folder in layout.unlabeled.values():
        name = folder.relative_to(layout.root).as_posix()
        count = len(list_files(folder, IMAGE_SUFFIXES))
        notes.append(
            f"{amount(count, 'image')} in {name}/ without a mask {'is' if count == 1 else 'are'} "
            "left out."
        )
    notes += _without_partner(pairings.values())
    if options.patient is not None:
        check_group(options.patient, [_tile_name(case) for _, case in cases])
        group = options.patient
    elif pattern is None:
        group = GROUP
    else:
        carried = _carried_over(pattern, [case for _, case in cases])
        group = carried or GROUP
        notes.append(
            f"Groups: {reason}."
            if carried
            else f"The groups of {pattern!r} are not found in the names of tiles: each image is a "
            "group of its own. Use --patient to find patients."
        )
    classes = LabelMap.of_foreground(described.classes).classes if described else ()
    table = label_table(table_folders(dataset, layout))
    return _Source(
        dataset,
        cases,
        group,
        classes if len(classes) > 1 else (),
        table,
        described.ignored if described else None,
        tuple(notes),
    )


def _without_partner(pairings: Iterable[Pairing]) -> list[str]:
    notes = []
    for pairing in pairings:
        images = [p.name for p in pairing.images_without_mask]
        masks = [p.name for p in pairing.masks_without_image]
        notes += left_out("Images without a mask were left out", images)
        notes += left_out("Masks without an image were left out", masks)
    return notes


def _carried_over(pattern: str, cases: Iterable[Case]) -> str | None:
    """A regular expression that finds in names of tiles what `pattern` finds in those of images."""
    carried = re.sub(r"(?<!\\)\$", lambda _: r"(?=_y\d+_x\d+$)", pattern)
    fits = all(group_of(_tile_name(case), carried) == case.group for case in cases)
    return carried if fits else None


def _given_split(source: _Source) -> tuple[dict[str, list[str]], list[str]]:
    """What the split file of a dataset without folders for splits says: split -> ids of cases."""
    path = source.folder / SPLIT_FILE
    if not path.is_file() or any(split for split, _ in source.cases):
        return {}, []
    try:
        parts = parts_of_file(path, {"": tuple(case for _, case in source.cases)})
    except DataError as error:
        return {}, [f"{path.name} is not used: {error.problem}"]
    ids: dict[str, list[str]] = {
        split: [case.id for case in own] for split, own in parts.cases.items()
    }
    return ids, [finding.what for finding in parts.findings]


def _labels(
    source: _Source, cases: list[Case], workers: int | None, on_done: Progress | None
) -> LabelMap:
    """The classes of the masks, which tell what is background."""
    if source.classes:
        return LabelMap.of_foreground(source.classes[1:], ignored=source.ignored)
    looks = run_parallel(_look, cases, workers, on_done)
    found = meaning_of(looks, None, source.table)
    # Tiles of masks stay as they are, with their palette and without their table.
    if found.background is not None and source.table.source:
        raise other_background_error(source.table)
    labels = found.labels
    refuse_filled([case.mask for case in cases], looks, labels)
    return labels


def _look(case: Case) -> MaskLook:
    return look_at_mask(case_mask(case))


def _tile_name(case: Case, top: int = 0, left: int = 0) -> str:
    return f"{case.id}_y{top:05d}_x{left:05d}"


def _write_tiles(
    writer: DatasetWriter,
    options: TileOptions,
    labels: LabelMap,
    source: _Source,
    item: tuple[str, Case],
) -> _Written:
    split, case = item
    pixels = image_pixels(case.image, _AS_STORED, None)
    mask = case_mask(case)
    ids = labels.encode(mask, str(case.mask)).labels
    if mask.ignored is None:
        stored, palette = _storable(mask, case.mask)
    else:
        stored, palette = ids, labels.palette
    size = (pixels.shape[0], pixels.shape[1])
    ids, stored = (fitted_mask(own, size, case.mask) for own in (ids, stored))
    labelled = (ids != 0) & (ids != IGNORED)
    height, width = options.size
    rows, empties, kept_empty = [], 0, 0
    for top in tile_starts(pixels.shape[0], height, options.overlap):
        for left in tile_starts(pixels.shape[1], width, options.overlap):
            window = np.s_[top : top + height, left : left + width]
            if not labelled[window].any():
                empties += 1
                if not options.empty_every or (empties - 1) % options.empty_every:
                    continue
                kept_empty += 1
            stem = _tile_name(case, top, left)
            tile = np.ascontiguousarray(pixels[window])
            row = (
                writer.write_image(f"{stem}.png", tile, split),
                writer.write_stored_mask(
                    f"{stem}.png", np.ascontiguousarray(stored[window]), palette, split
                ),
                group_of(stem, source.group),
                top, left, *tile.shape[:2],
                case.image.relative_to(source.folder).as_posix(),
                case.mask.relative_to(source.folder).as_posix(),
            )  # fmt: skip
            rows.append(row)
    small = pixels.shape[0] < height or pixels.shape[1] < width
    return _Written(rows, kept_empty, empties - kept_empty, small)


def _storable(mask: MaskPixels, path: Path) -> tuple[NDArray, list[int] | None]:
    """A mask's pixels and palette as a PNG stores them."""
    if mask.palette is not None:
        return mask.pixels, [int(v) for v in mask.palette.reshape(-1)]
    pixels = mask.pixels.argmax(axis=-1) if mask.one_hot else mask.pixels
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels, None
    for dtype in (np.uint8, np.uint16):
        with np.errstate(invalid="ignore"):
            converted = pixels.astype(dtype)
        if (converted == pixels).all():
            return converted, None
    raise DataError(
        "The mask's values do not fit into a PNG.",
        "Save it with integers from 0 to 65535; `flexseg derive folders --threshold` makes masks "
        "of one class.",
        str(path),
    )
