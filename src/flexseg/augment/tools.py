"""What the originals' offline tools make of folders (`flexseg augment TOOL.config`).

An image and its mask see one field, masks are sampled by nearest and keep their colours; the
originals draw a field for each, and blend colours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.augment.multiplication import ORIGINAL, rng_for
from flexseg.augment.pairs import ScaledPair
from flexseg.augment.policy import Draw, Move, Variant, variants_of
from flexseg.augment.tool_config import ToolJob
from flexseg.augment.writing import write_image
from flexseg.config.findings import examples
from flexseg.dataset.cases import pair
from flexseg.dataset.parallel import together
from flexseg.errors import DataError
from flexseg.files.entries import list_files, require_folder
from flexseg.files.images import IMAGE_SUFFIXES, MaskPixels, read_image, read_mask, write_png
from flexseg.files.preprocess import Preprocessing
from flexseg.outputs import make_folder, refuse_overlap, whole_folder, write_csv

MANIFEST = "manifest.csv"
HEADER = ("file", "mask", "source", "transform")
# The constant of the originals.
_SEED = 137
_FIRST_CENTER = 101


@dataclass(frozen=True)
class ToolSource:
    """An image, its mask if it has one, and where its results go, below the output folder."""

    image: Path
    mask: Path | None
    image_folder: Path
    mask_folder: Path
    augmented: bool = True


@dataclass(frozen=True)
class ToolResult:
    """What a tool has made.

    Attributes
    ----------
    images, written : images read, and files written for them, masks aside.
    left_out : files without a partner.
    failed : why images are missing.
    """

    output: Path
    images: int
    written: int
    left_out: tuple[str, ...] = ()
    failed: tuple[DataError, ...] = ()


def tool_variants(job: ToolJob) -> tuple[Variant, ...]:
    """What a tool makes of each image."""
    if not job.radial:
        return variants_of(job.sections)
    return tuple(
        Variant(
            f"barrdistorted_{number}_{radius:g}_{amount:g}_",
            (Move("radial", {"radius": radius, "amount": amount, "centers": (center,)}),),
            "constant",
        )
        for radius, amount in job.radial
        for number, center in enumerate(job.sections.barrdistortion.centers, start=_FIRST_CENTER)
    )


def tool_sources(job: ToolJob) -> tuple[list[ToolSource], list[str]]:
    """The files that a tool works on, and the names of those that have no partner.

    Raises
    ------
    DataError : there are none, or the folder is missing.
    """
    require_folder(job.images)
    if job.masks is not None:
        found, left_out = _pairs(job.images, job.masks, Path(), augmented=True)
    else:
        found, left_out = [], []
        for folder in (job.images, *sorted(p for p in job.images.rglob("*") if p.is_dir())):
            below = folder.relative_to(job.images)
            images, masks = folder.parent / "images", folder.parent / "masks"
            if folder != job.images and folder.name == "images" and masks.is_dir():
                augmented = below.parts[0] not in job.untouched
                pairs, lone = _pairs(folder, masks, below.parent, augmented=augmented)
                found += pairs
                left_out += lone
            elif not (folder != job.images and folder.name == "masks" and images.is_dir()):
                found += [ToolSource(file, None, below, below) for file in _images(folder)]
    if not found:
        raise DataError(
            "There are no images in this folder.",
            f"Give a folder of images ({', '.join(IMAGE_SUFFIXES[:4])}, ...).",
            str(job.images),
        )
    return found, left_out


def _images(folder: Path) -> list[Path]:
    return [file for file in list_files(folder, IMAGE_SUFFIXES) if file.is_file()]


def _pairs(
    images: Path, masks: Path, below: Path, *, augmented: bool
) -> tuple[list[ToolSource], list[str]]:
    pairing = pair(images, masks)
    lone = [*pairing.images_without_mask, *pairing.masks_without_image]
    sources = [
        ToolSource(case.image, case.mask, below / "images", below / "masks", augmented)
        for case in pairing.cases
    ]
    return sources, [str(file) for file in lone]


def run_tool(
    job: ToolJob, output: Path, on_image: Callable[[int, int], None] | None = None
) -> ToolResult:
    """Write what a tool makes of its folder; results in the way move aside.

    Images that cannot be read are left out.

    Parameters
    ----------
    on_image : called with (done, total) after each image.

    Raises
    ------
    ConfigError : the output folder holds what is read.
    DataError : there are no files, none can be read, or results would have one name.
    ResourceError : the folder cannot be written.
    """
    refuse_overlap({f"[{job.section}]": output}, [job.images, job.masks])
    sources, left_out = tool_sources(job)
    variants = tool_variants(job)
    _refuse_equal_names(sources)
    rows: list[tuple[str, str, str, str]] = []
    failed: list[DataError] = []
    with whole_folder(output) as folder:
        for done, source in enumerate(sources, start=1):
            try:
                pair = _read(source, job.size)
            except DataError as error:
                failed.append(error)
                continue
            chosen = variants if source.augmented else ()
            for transform, draw in _draws(source.image.stem, chosen, job, pair.labels.shape):
                files = pair.write(folder, source, draw)
                names = (str(f.relative_to(folder).as_posix()) if f else "" for f in files)
                rows.append((*names, str(source.image), transform))  # type: ignore[arg-type]
            if on_image is not None:
                on_image(done, len(sources))
        if len(failed) == len(sources):
            raise together(failed, stopped=False)
        write_csv(folder / MANIFEST, HEADER, rows)
    images = len(sources) - len(failed)
    return ToolResult(output, images, len(rows), tuple(left_out), tuple(failed))


def _draws(
    stem: str, variants: tuple[Variant, ...], job: ToolJob, size: tuple[int, ...]
) -> Iterator[tuple[str, Draw]]:
    if job.originals:
        yield ORIGINAL, Draw()
    for variant in variants:
        rng = rng_for(_SEED, stem, variant.prefix)
        yield variant.prefix.rstrip("_"), variant.draw(rng, (size[0], size[1]))


def _refuse_equal_names(sources: list[ToolSource]) -> None:
    names = [str(s.image_folder / s.image.stem).casefold() for s in sources]
    double = sorted(
        {str(s.image) for s, n in zip(sources, names, strict=True) if names.count(n) > 1}
    )
    if double:
        raise DataError(
            f"The results of these files would have the same names: {examples(double)}.",
            "Rename one of them, or move it away.",
        )


@dataclass(frozen=True)
class _ToolPair:
    """An image and its mask as stored, at the size of the results.

    Attributes
    ----------
    planes : bytes of the mask [H, W, bytes of a pixel], which are moved as they are.
    """

    scaled: ScaledPair
    mask: MaskPixels | None
    planes: NDArray[np.uint8]

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The first byte of each pixel of the mask, 0 without one."""
        return self.scaled.labels

    def write(self, folder: Path, source: ToolSource, draw: Draw) -> tuple[Path, Path | None]:
        """Write what a draw makes of the pair; returns both files."""
        stem = f"{draw.prefix}{source.image.stem}"
        image, first = draw.apply(self.scaled.image, self.labels)
        place = make_folder(folder / source.image_folder)
        image_file = write_image(place, stem, self.scaled.stored(image))
        if self.mask is None or source.mask is None:
            return image_file, None
        nothing = np.zeros((*first.shape, 1), np.uint8)
        rest = [draw.apply(nothing, plane)[1] for plane in np.moveaxis(self.planes[..., 1:], -1, 0)]
        moved = np.ascontiguousarray(np.stack([first, *rest], axis=-1))
        pixels = moved.view(self.mask.pixels.dtype).reshape(*first.shape, -1)
        palette = None if self.mask.palette is None else self.mask.palette.ravel().tolist()
        mask_file = (
            make_folder(folder / source.mask_folder) / f"{draw.prefix}{source.mask.stem}.png"
        )
        write_png(mask_file, pixels[..., 0] if pixels.shape[-1] == 1 else pixels, palette)
        return image_file, mask_file


def _read(source: ToolSource, size: tuple[int, int] | None) -> _ToolPair:
    pixels = read_image(source.image)
    height, width = size or pixels.shape[:2]
    scale = Preprocessing(width, height, pixels.shape[2], interpolation="bilinear")
    image = scale.image(pixels, str(source.image))
    mask, planes = None, np.zeros((height, width, 1), np.uint8)
    if source.mask is not None:
        mask = read_mask(source.mask)
        if mask.one_hot:
            mask = replace(mask, pixels=mask.pixels.argmax(axis=-1).astype(np.uint8))
        elif mask.pixels.dtype == bool:
            mask = replace(mask, pixels=mask.pixels.astype(np.uint8) * 255)
        if mask.pixels.dtype not in (np.uint8, np.uint16):
            raise DataError(
                f"The mask holds {mask.pixels.dtype} values, which a PNG cannot hold.",
                "Store it with 8 or 16 bits per pixel.",
                str(source.mask),
            )
        if mask.pixels.shape[:2] != pixels.shape[:2]:
            raise DataError(
                f"The mask has {mask.pixels.shape[:2]} pixels, but its image has "
                f"{pixels.shape[:2]}.",
                "Give masks of the same size as their images.",
                str(source.mask),
            )
        planes = _planes(mask.pixels, (height, width))
    return _ToolPair(ScaledPair(image, planes[..., 0], pixels.dtype, None), mask, planes)


def _planes(pixels: NDArray, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The bytes of each pixel [H, W, bytes] at `size`, by nearest neighbour."""
    raw = np.ascontiguousarray(pixels).view(np.uint8).reshape(*pixels.shape[:2], -1)
    planes = [
        cv2.resize(np.ascontiguousarray(plane), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        for plane in np.moveaxis(raw, -1, 0)
    ]
    return np.stack(planes, axis=-1)
