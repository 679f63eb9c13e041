"""Pictures of a dataset: how many images it has, and what they look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flexseg.dataset.candidates.answers import NO_ANSWERS, Answers
from flexseg.dataset.candidates.stacking import channels_of
from flexseg.dataset.cases import Case, read_masks
from flexseg.dataset.layout import find_layout, volume_folders
from flexseg.dataset.names import stem_of
from flexseg.dataset.parallel import together
from flexseg.dataset.volumetric.pairing import find_pairs
from flexseg.errors import ConfigError, DataError, one_line
from flexseg.files.display import class_colors, displayable
from flexseg.files.entries import list_files, none_here, require_folder
from flexseg.files.images import (
    IMAGE_SUFFIXES,
    MaskPixels,
    read_image,
    write_png,
)
from flexseg.files.volumes.read import read_labels, read_volume
from flexseg.files.volumes.slices import to_lps
from flexseg.files.volumes.volume import Volume
from flexseg.machine import real_path
from flexseg.one_writer import alone_in
from flexseg.outputs import make_folder, set_aside, whole
from flexseg.own_results import claim_picture

_TILE = 192
_COLUMNS = 6
_ROWS = 3
# Grey pictures with fewer values than this show class ids.
_FEWEST_GREYS = 20
# The name of a case, and its pixels.
_Tile = tuple[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class FolderPictures:
    """What is drawn of one part of a dataset.

    Attributes
    ----------
    cases : images with masks.
    alone : images without, by their names.
    channels : files of each image, of which a case has the first.
    """

    cases: Sequence[Case]
    alone: dict[str, Path]
    read_image: Callable[[Path], NDArray[np.uint8]]
    read_mask: Callable[[tuple[Path, ...]], NDArray[np.uint8]]
    channels: int = 1

    @property
    def images(self) -> dict[str, Case | None]:
        """By their names, in order; the case of one that has a mask."""
        found: dict[str, Case | None] = {case.id: case for case in self.cases}
        found |= dict.fromkeys(self.alone)
        return {name: found[name] for name in sorted(found)}

    @property
    def folders(self) -> set[Path]:
        """Where the files lie."""
        own = {path.parent for case in self.cases for path in (case.image, *case.masks)}
        return {real_path(path) for path in own | {path.parent for path in self.alone.values()}}


@dataclass(frozen=True)
class Drawn:
    """What was written, why cases are missing in the contact sheets, and what these leave out."""

    files: list[Path]
    failed: list[DataError]
    notes: tuple[str, ...] = ()


@alone_in("output")
def draw_statistics(dataset: Path, output: Path, answers: Answers = NO_ANSWERS) -> Drawn:
    """Write `<name>_Statistics.png` and contact sheets.

    The contact sheets show evenly spaced cases, images and masks in the same order, each under
    its file name; of volumes the slice in the middle. Cases that cannot be read are left out.

    Raises
    ------
    DataError : the folder has no images.
    """
    name = real_path(dataset).name
    parts = find_pictures(dataset.absolute(), name, answers)
    for part in parts.values():
        if real_path(output) in part.folders:
            raise ConfigError(
                f"The output folder {output} holds the images or masks to be drawn.",
                "Choose a folder of its own.",
                "--output",
            )
    sheets = (f"{split}_{kind}_sample.png" for split in parts for kind in ("images", "masks"))
    for file in (f"{name}_Statistics.png", *sheets):
        claim_picture(output / file)
    make_folder(output)
    written = [output / f"{name}_Statistics.png"]
    set_aside(written[0])
    found = {split: part.images for split, part in parts.items()}
    _draw_counts(written[0], {split: len(own) for split, own in found.items()}, name)
    failed: list[DataError] = []
    for split, part in parts.items():
        ids = [*found[split]]
        chosen = {ids[i]: found[split][ids[i]] for i in _spread(len(ids), _COLUMNS * _ROWS)}
        images, masks = _tiles(part, chosen, failed)
        for kind, tiles in (("images", images), ("masks", masks)):
            if tiles:
                written.append(_write_sheet(output / f"{split}_{kind}_sample.png", tiles))
    channels = max((part.channels for part in parts.values()), default=1)
    note = f"Each image has {channels} channels, in files of their own: the first one is drawn."
    return Drawn(written, failed, (note,) if channels > 1 else ())


def _tiles(
    part: FolderPictures, chosen: Mapping[str, Case | None], failed: list[DataError]
) -> tuple[list[_Tile], list[_Tile]]:
    """The images and the masks of the cases that can be read; errors are added to `failed`."""
    images: list[_Tile] = []
    masks: list[_Tile] = []
    for case_id, case in chosen.items():
        try:
            image = part.read_image(case.image if case else part.alone[case_id])
            mask = part.read_mask(case.masks) if case else None
        except DataError as error:
            failed.append(error)
            continue
        images.append((case_id, image))
        if mask is not None:
            masks.append((case_id, mask))
    return images, masks


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: pictures on it, pictures in the folder, and why some cannot be shown."""

    shown: int
    found: int
    failed: list[DataError]


def draw_sheet(folder: Path, output: Path, count: int) -> Sheet:
    """Draw a contact sheet of any folder of pictures: predictions, overlays, images, masks.

    Parameters
    ----------
    output : a PNG.
    count : pictures at most, evenly spaced; of these, those that cannot be read are left out.

    Raises
    ------
    DataError : there are none, or none of them can be read.
    """
    require_folder(folder)
    files = list_files(folder, IMAGE_SUFFIXES)
    if not files:
        raise none_here(folder, "pictures")
    make_folder(output.absolute().parent)
    failed: list[DataError] = []
    tiles: list[_Tile] = []
    for path in [files[i] for i in _spread(len(files), count)]:
        try:
            tiles.append((path.name, _at_tile_size(_shown(path))))
        except DataError as error:
            failed.append(error)
    if not tiles:
        raise together(failed, stopped=False)
    _write_sheet(output, tiles)
    return Sheet(len(tiles), len(files), failed)


def _shown(path: Path) -> NDArray[np.uint8]:
    """A picture as people see it; small class ids in colours."""
    image = read_image(path)
    if image.shape[2] == 1 and image.dtype == np.uint8 and image.max() < _FEWEST_GREYS:
        return class_colors(MaskPixels(image[..., 0], None, False, False, ""))
    return displayable(image)


def find_pictures(
    dataset: Path, name: str, answers: Answers = NO_ANSWERS
) -> dict[str, FolderPictures]:
    """The parts of a dataset that its folders tell of, or the whole under its name."""
    volumes = volume_folders(dataset, answers)
    if volumes is not None:
        pairs = find_pairs(*volumes).by_stem
        cases = [Case(stem, pair.image, pair.label, stem) for stem, pair in pairs.items()]
        files = max((pair.files for pair in pairs.values()), default=1)
        return {name: FolderPictures(cases, {}, _slice_of_image, _slice_of_labels, files)}
    layout = find_layout(dataset, answers, need_masks=False)
    parts = {}
    found = layout.pair()
    channels = channels_of(layout, found)
    for split, pairing in found.items():
        alone = {stem_of(path): path for path in pairing.images_without_mask}
        parts[split or name] = FolderPictures(pairing.cases, alone, _image, _mask, channels)
    for split, folder in layout.unlabeled.items():
        images = {stem_of(path): path for path in list_files(folder, IMAGE_SUFFIXES)}
        parts.setdefault(split or name, FolderPictures((), images, _image, _mask))
    return parts


def _image(path: Path) -> NDArray[np.uint8]:
    return displayable(read_image(path))


def _mask(paths: tuple[Path, ...]) -> NDArray[np.uint8]:
    return class_colors(read_masks(paths))


def _slice_of_image(path: Path) -> NDArray[np.uint8]:
    volume = read_volume(path).channel(0)
    return displayable(_middle(volume)[..., None])


def _slice_of_labels(paths: tuple[Path, ...]) -> NDArray[np.uint8]:
    return class_colors(MaskPixels(_middle(read_labels(paths[0])), None, False, False, ""))


def _middle(volume: Volume) -> NDArray:
    slices = to_lps(volume.array, volume.orientation)
    return np.ascontiguousarray(slices[len(slices) // 2])


def _spread(count: int, wanted: int) -> list[int]:
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, wanted)).round()})


def _draw_counts(path: Path, counts: dict[str, int], title: str) -> None:
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar(list(counts), list(counts.values()), color="#4878a8", width=0.6)
    axes.bar_label(bars, padding=2)
    axes.set_title(one_line(title))
    axes.set_ylabel("Number of Images")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    with whole(path) as part:
        figure.savefig(part, dpi=120)


def _write_sheet(path: Path, tiles: list[_Tile]) -> Path:
    """Rows as high as their highest picture; each name close below its own picture."""
    set_aside(path)
    caption, gap = 18, 12
    columns = min(_COLUMNS, len(tiles))
    rows = [
        [(name, _at_tile_size(pixels)) for name, pixels in tiles[start : start + columns]]
        for start in range(0, len(tiles), columns)
    ]
    heights = [max(len(pixels) for _, pixels in row) + caption + gap for row in rows]
    sheet = np.full((sum(heights) + gap, columns * (_TILE + gap) + gap, 3), 255, np.uint8)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, (name, pixels) in enumerate(row):
            left, (h, w) = gap + column * (_TILE + gap), pixels.shape[:2]
            x = left + (_TILE - w) // 2
            sheet[top : top + h, x : x + w] = pixels
            text = name if len(name) <= 26 else f"{name[:12]}...{name[-11:]}"
            cv2.putText(
                sheet, text, (left, top + h + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (60, 60, 60),
                1, cv2.LINE_AA,
            )  # fmt: skip
        top += height
    write_png(path, sheet)
    return path


def _at_tile_size(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture whose longer side is that of a tile."""
    scale = _TILE / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return cv2.resize(pixels, size, interpolation=method).astype(np.uint8, copy=False)
