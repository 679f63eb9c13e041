"""Tiles of large images and their masks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.cases import Case, Pairing, pair
from flexseg.dataset.parallel import Progress, run_parallel
from flexseg.dataset.statistics import SPLIT_FOLDERS, split_folders
from flexseg.derive.dataset_writer import DatasetWriter, Derived, check_group, left_out, patient_of
from flexseg.derive.folders import image_pixels
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import MaskPixels, read_mask
from flexseg.files.intensity import Intensity
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
    mask_name : stem of the mask that belongs to the image stem `{id}`.
    patient : regular expression that finds the patient in a tile's name.
    workers : images in memory at once, at most.
    """

    size: tuple[int, int] = (512, 512)
    overlap: int = 0
    empty_every: int = 1
    mask_name: str = "{id}"
    patient: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ConfigError(
                f"Tiles of {self.size[1]} x {self.size[0]} pixels are empty.",
                "Give 512 or WIDTHxHEIGHT.",
                "--size",
            )
        if not 0 <= self.overlap < min(self.size):
            raise ConfigError(
                f"Tiles of {self.size[1]} x {self.size[0]} pixels cannot overlap by "
                f"{self.overlap}.",
                "The overlap must be at least 0 and less than the size.",
                "--overlap",
            )


def tile_starts(length: int, size: int, overlap: int) -> list[int]:
    """Where tiles begin along one side so that they cover it; the last one ends at the border."""
    if length <= size:
        return [0]
    return [*range(0, length - size, size - overlap), length - size]


@dataclass(frozen=True)
class _Written:
    rows: list[tuple[Any, ...]]
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

    A dataset of train/, valid/ and test/ keeps these. Masks keep their values and colours.

    Raises
    ------
    DataError : something cannot be read or does not fit; nothing is written then.
    ConfigError : an option is wrong, or the output folder holds an input.
    """
    refuse_overlap({"--output": output}, [dataset])
    options = options or TileOptions()
    folders = split_folders(dataset)
    splits = {(name if name in SPLIT_FOLDERS else ""): folder for name, folder in folders.items()}
    if (dataset / "images").is_dir():
        splits = {"": dataset}
    pairings: dict[str, Pairing] = {
        split: pair(folder / "images", folder / "masks", mask_name=options.mask_name)
        for split, folder in splits.items()
    }
    cases = [(split, case) for split, pairing in pairings.items() for case in pairing.cases]
    if not cases:
        raise DataError(
            "No image has a mask of its name.",
            "Give --mask-name, e.g. '{id}_mask', or derive the dataset with `flexseg derive "
            "folders` first.",
            str(dataset),
        )
    check_group(options.patient, [f"{case.id}_y00000_x00000" for _, case in cases])
    with DatasetWriter(output, splits=splits) as writer:
        write = partial(_write_tiles, writer, options, dataset)
        written = run_parallel(write, cases, options.workers, on_done)
        rows = [row for one in written for row in one.rows]
        dropped = sum(one.dropped for one in written)
        notes = [f"{dropped} tiles without label left out (--empty-every)."] if dropped else []
        small = [case.id for (_, case), one in zip(cases, written, strict=True) if one.small]
        notes += left_out("images are smaller than a tile and stay as they are", small)
        for pairing in pairings.values():
            lonely = [p.name for p in pairing.images_without_mask]
            rest = [p.name for p in pairing.masks_without_image]
            notes += left_out("images without mask left out", lonely)
            notes += left_out("masks without image left out", rest)
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
                "mask_name": options.mask_name,
                "patient": options.patient,
            },
            empty=sum(one.empty for one in written),
            group=options.patient or GROUP,
            notes=notes,
        )


def _write_tiles(
    writer: DatasetWriter, options: TileOptions, dataset: Path, item: tuple[str, Case]
) -> _Written:
    split, case = item
    pixels = image_pixels(case.image, _AS_STORED, None)
    mask = read_mask(case.mask)
    if mask.pixels.shape[:2] != pixels.shape[:2]:
        sizes = [f"{s[1]} x {s[0]}" for s in (mask.pixels.shape, pixels.shape)]
        raise DataError(
            f"The mask is {sizes[0]}, its image {sizes[1]} pixels (width x height).",
            "Export them at the same size.",
            str(case.mask),
        )
    stored, palette = _storable(mask, case.mask)
    labelled = _labelled(mask)
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
            stem = f"{case.id}_y{top:05d}_x{left:05d}"
            tile = np.ascontiguousarray(pixels[window])
            row = (
                writer.write_image(f"{stem}.png", tile, split),
                writer.write_stored_mask(
                    f"{stem}.png", np.ascontiguousarray(stored[window]), palette, split
                ),
                patient_of(stem, options.patient, case.id),
                top, left, *tile.shape[:2],
                case.image.relative_to(dataset).as_posix(),
                case.mask.relative_to(dataset).as_posix(),
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
        "Expected whole numbers from 0 to 65535; `flexseg derive folders --threshold` makes a "
        "mask of one class.",
        str(path),
    )


def _labelled(mask: MaskPixels) -> NDArray[np.bool_]:
    """Where a mask is not background: not value 0 or black; without black, not index 0."""
    if mask.one_hot:
        return mask.pixels.argmax(axis=-1) != 0
    if mask.palette is not None and mask.palette[0].any():
        colored = (mask.palette.max(axis=-1) > 0)[np.minimum(mask.pixels, len(mask.palette) - 1)]
        return mask.pixels != 0 if colored.all() else colored
    gray = mask.pixels.max(axis=-1) if mask.pixels.ndim == 3 else mask.pixels
    return gray >= 128 if mask.lossy else gray != 0
