"""Writing of what was predicted for one image, as it comes: mask, overlay, probabilities."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelMap
from flexseg.files.display import displayable
from flexseg.files.images import write_png
from flexseg.files.large_images import LARGE_PIXELS, Regions, label_store, write_label_image
from flexseg.files.resizing import resize
from flexseg.inference.pictures.overlay import overlay
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.trust.temperature import scaled
from flexseg.model_file.model_description import ModelDescription
from flexseg.outputs import whole

# Pictures for the eye: whole up to this, and reduced to about so many pixels above.
_WHOLE_PICTURE = 25_000_000
_REDUCED_PICTURE = 4_000_000
_BLOCK_ROWS = 1024
# Of masks and pictures, of masks of large images, and of probabilities.
RESULT_SUFFIXES = (".png", ".tif", ".npz")

Slabs = Iterable[tuple[int, NDArray[np.float32]]]


@dataclass
class Targets:
    """Where the results of one inference go; None: not written.

    Attributes
    ----------
    section : of the config that names the folders.
    """

    masks: Path
    merged: Path | None = None
    colorized: Path | None = None
    probabilities: Path | None = None
    section: str = "infer"

    def folders(self) -> list[Path]:
        """All folders that are written to."""
        return list(self.by_key().values())

    def by_key(self) -> dict[str, Path]:
        """All folders that are written to, by the key of the config that names them."""
        folders = {
            "output_dir": self.masks,
            "merged_dir": self.merged,
            "colorized_dir": self.colorized,
            "probabilities": self.probabilities,
        }
        return {f"[{self.section}] {k}": folder for k, folder in folders.items() if folder}


def write_result(
    predictor: Predictor | TiledPredictor,
    image: Regions,
    slabs: Slabs,
    stem: str,
    targets: Targets,
    *,
    alpha: float = 0.5,
    large: int = LARGE_PIXELS,
    on_rows: Callable[[int], None] | None = None,
) -> dict[str, int]:
    """Write all results of one image, and count its pixels.

    Memory: the label map, and a slab; pictures of more than 25 million pixels are written reduced.

    Parameters
    ----------
    slabs : first row and probabilities [rows, W, classes] of successive parts of the image.
    stem : file name without suffix, after the folders that it lies in.
    alpha : opacity of the class colours in the overlay.
    large : pixels from which on masks are tiled TIFFs and colourised masks are reduced.
    on_rows : called with the number of finished rows.

    Returns
    -------
    Class name -> pixels.
    """
    label_map, temperature = predictor.package.labels, predictor.trust.temperature
    height, width, _ = image.shape
    with label_store(height, width, targets.masks, large) as store:
        with _probability_file(targets.probabilities, stem, (height, width)) as keep:
            for first, p in slabs:
                if keep is not None:
                    keep(scaled(p, temperature))
                store[first : first + len(p)] = predictor.labels(p)
                if on_rows is not None:
                    on_rows(first + len(p))
        labels = predictor.postprocess(store)
        write_label_image(targets.masks / stem, labels, label_map.palette, large)
        _write_pictures(image, labels, predictor.package, stem, targets, alpha, large)
        return _pixels_per_class(labels, label_map)


def _write_pictures(
    image: Regions,
    labels: NDArray[np.uint8],
    package: ModelDescription,
    stem: str,
    targets: Targets,
    alpha: float,
    large: int,
) -> None:
    factor, label_map = picture_factor(labels.size), package.labels
    if targets.merged is not None:
        pixels = displayable(package.preprocessing.shown(_reduced(image, factor)))
        picture = overlay(pixels, _every(labels, factor), label_map, alpha)
        write_png(targets.merged / f"{stem}.png", picture)
    if targets.colorized is not None:
        shown = labels if labels.size < large else _every(labels, factor)
        write_png(targets.colorized / f"{stem}.png", label_map.colorize(shown))


def picture_factor(pixels: int) -> int:
    """By what an image of so many pixels is divided in pictures of it."""
    return 1 if pixels <= _WHOLE_PICTURE else math.ceil(math.sqrt(pixels / _REDUCED_PICTURE))


def _every(labels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The middle pixel of each block of `factor` x `factor`."""
    height, width = (side // factor * factor for side in labels.shape)
    middle = slice(factor // 2, None, factor)
    return np.ascontiguousarray(labels[:height, :width][middle, middle])


def _reduced(image: Regions, factor: int) -> NDArray:
    """The mean of each block of `factor` x `factor`: [H / factor, W / factor, C]."""
    height, width, _ = image.shape
    if factor == 1:
        return image.rows(slice(0, height))
    step = max(1, _BLOCK_ROWS // factor) * factor
    parts = []
    for start in range(0, height // factor * factor, step):
        block = image.rows(slice(start, min(start + step, height // factor * factor)))
        block = np.ascontiguousarray(block[:, : width // factor * factor])
        parts.append(resize(block, (len(block) // factor, width // factor), "area"))
    return np.concatenate(parts)


def _pixels_per_class(labels: NDArray[np.uint8], label_map: LabelMap) -> dict[str, int]:
    # Row by row, as counting makes 8 bytes of each pixel.
    counts = np.zeros(256, np.int64)
    for row in labels:
        counts += np.bincount(row, minlength=256)
    return {c.name: int(counts[c.id]) for c in label_map.classes}


@contextmanager
def _probability_file(
    folder: Path | None, stem: str, size: tuple[int, int]
) -> Iterator[Callable[[NDArray[np.float32]], None] | None]:
    """A function that appends rows [h, W, classes] to `<stem>.npz`; None without a folder.

    The file is that of `np.savez_compressed(probabilities=...)`: [H, W, classes] float16.
    """
    if folder is None:
        yield None
        return
    with (
        whole(folder / f"{stem}.npz") as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("probabilities.npy", "w", force_zip64=True) as file,
    ):
        empty = True

        def append(p: NDArray[np.float32]) -> None:
            nonlocal empty
            if empty:
                shape = (*size, p.shape[-1])
                header = {"descr": "<f2", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                empty = False
            file.write(np.ascontiguousarray(p, "<f2").tobytes())

        yield append
