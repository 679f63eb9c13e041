"""Pictures of a dataset: how many images it has, and what they look like."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.display import class_colors, displayable
from flexseg.files.images import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    list_files,
    read_image,
    read_mask,
    write_png,
)
from flexseg.outputs import make_folder, set_aside

SPLIT_FOLDERS = ("train", "valid", "test")
_TILE = 192
_COLUMNS = 6
_ROWS = 3


def split_folders(dataset: Path) -> dict[str, Path]:
    """Name -> folder with `images/` (and `masks/`): the splits, or the dataset itself.

    Raises
    ------
    DataError : the folder has none of that.
    """
    if not dataset.is_dir():
        raise DataError("There is no such folder.", "Check the path.", str(dataset))
    found = {n: dataset / n for n in SPLIT_FOLDERS if (dataset / n / "images").is_dir()}
    if not found and (dataset / "images").is_dir():
        found = {dataset.resolve().name: dataset}
    if not found:
        raise DataError(
            "The folder has neither images/ and masks/ nor train/images/, train/masks/, ...",
            "Arrange the files so, or name the folders in a config.",
            str(dataset),
        )
    return found


def draw_statistics(dataset: Path, output: Path) -> list[Path]:
    """Write `<name>_Statistics.png` and contact sheets; returns the files.

    The contact sheets show evenly spaced cases, images and masks in the same order, each under
    its file name.
    """
    folders = split_folders(dataset)
    make_folder(output)
    name = dataset.resolve().name
    written = [output / f"{name}_Statistics.png"]
    counts = {n: len(list_files(f / "images", IMAGE_SUFFIXES)) for n, f in folders.items()}
    set_aside(written[0])
    _draw_counts(written[0], counts, name)
    for split, folder in folders.items():
        images = {p.stem: p for p in list_files(folder / "images", IMAGE_SUFFIXES)}
        if not images:
            continue
        stems = sorted(images)
        chosen = [stems[i] for i in _spread(len(stems), _COLUMNS * _ROWS)]
        tiles = [(stem, displayable(read_image(images[stem]))) for stem in chosen]
        written.append(_write_sheet(output / f"{split}_images_sample.png", tiles))
        if not (folder / "masks").is_dir():
            continue
        masks = {p.stem: p for p in list_files(folder / "masks", MASK_SUFFIXES)}
        tiles = [(stem, class_colors(read_mask(masks[stem]))) for stem in chosen if stem in masks]
        if tiles:
            written.append(_write_sheet(output / f"{split}_masks_sample.png", tiles))
    return written


def _spread(count: int, wanted: int) -> list[int]:
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()})


def _draw_counts(path: Path, counts: dict[str, int], title: str) -> None:
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar(list(counts), list(counts.values()), color="#4878a8", width=0.6)
    axes.bar_label(bars, padding=2)
    axes.set_title(title)
    axes.set_ylabel("Number of Images")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    figure.savefig(path, dpi=120)


def _write_sheet(path: Path, tiles: list[tuple[str, NDArray[np.uint8]]]) -> Path:
    set_aside(path)
    caption, gap = 18, 6
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    cell_h, cell_w = _TILE + caption + gap, _TILE + gap
    sheet = np.full((rows * cell_h + gap, columns * cell_w + gap, 3), 255, np.uint8)
    for i, (name, pixels) in enumerate(tiles):
        scale = _TILE / max(pixels.shape[:2])
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
        small = cv2.resize(pixels, size, interpolation=method)
        top, left = gap + i // columns * cell_h, gap + i % columns * cell_w
        y, x = top + (_TILE - size[1]) // 2, left + (_TILE - size[0]) // 2
        sheet[y : y + size[1], x : x + size[0]] = small
        text = name if len(name) <= 26 else f"{name[:12]}...{name[-11:]}"
        cv2.putText(
            sheet, text, (left, top + _TILE + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (60, 60, 60), 1,
            cv2.LINE_AA,
        )  # fmt: skip
    write_png(path, sheet)
    return path
