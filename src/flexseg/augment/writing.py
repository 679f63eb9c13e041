"""Writing augmented pairs: an image and its mask under one name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flexseg.config.augmentation import GeneratorConfig
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.names import is_augmented
from flexseg.errors import ConfigError
from flexseg.files.images import MaskPixels
from flexseg.files.npy import write_npy
from flexseg.outputs import entries_of, make_folder, set_aside, whole

_BLACK_WHITE = [0, 0, 0, 255, 255, 255]


def mask_palette(labels: LabelMap) -> list[int]:
    """A flat RGB palette whose indexed PNGs the same config reads as the same class ids.

    That is the palette of the classes; where a threshold would read their colours in another
    way (one class in dark grey), black and white.

    Raises
    ------
    ConfigError : the config reads neither.
    """
    own = labels.palette
    black_white = [*_BLACK_WHITE, *own[len(_BLACK_WHITE) :]]
    for palette in [own, *([black_white] if labels.binary else [])]:
        if all(_reads_back(labels, ids, palette) for ids in _samples(labels)):
            return palette
    raise ConfigError(
        "Masks in the colours of the classes would not be read back as these classes.",
        "Give every class a different colour in [mask], and leave threshold and algorithm out.",
        "[mask]",
    )


def _samples(labels: LabelMap) -> Iterator[list[int]]:
    """Sets of class ids that a mask may hold: what one class means can depend on the others."""
    ids = [c.id for c in labels.classes]
    yield ids
    if labels.ignored is not None:
        yield [*ids, IGNORED]
        yield from ([i, IGNORED] for i in ids)
    yield from ([i] for i in ids)
    yield from (list(pair) for pair in combinations(ids[:8], 2))


def _reads_back(labels: LabelMap, ids: list[int], palette: list[int]) -> bool:
    written = np.array([ids], np.uint8)
    colors = np.array(palette, np.uint8).reshape(-1, 3)
    encoded = labels.encode(MaskPixels(written, colors, False, False, "P"))
    return not encoded.unknown and np.array_equal(encoded.labels, written)


def image_suffix(pixels: NDArray) -> str:
    """ ".png", or ".npy" for what a PNG cannot hold: signed and real values, 2 or > 3 channels."""
    fits = pixels.dtype in (np.uint8, np.uint16) and pixels.shape[2] in (1, 3)
    return ".png" if fits else ".npy"


def write_image(folder: Path, stem: str, pixels: NDArray) -> Path:
    """Write an image [H, W, C] (grey or RGB) without loss, see `outputs.whole`.

    Returns the file: a PNG of 8 or 16 bits, or an array, see `image_suffix`.
    """
    path = folder / f"{stem}{image_suffix(pixels)}"
    if path.suffix == ".npy":
        with whole(path) as part:
            write_npy(part, pixels)
    else:
        # OpenCV encodes several times faster than Pillow, and colours of 16 bits.
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        with whole(path) as part:
            part.write_bytes(cv2.imencode(".png", bgr)[1].tobytes())
    return path


def write_mask(folder: Path, stem: str, labels: NDArray[np.uint8], palette: list[int]) -> Path:
    """Write class ids [H, W] as an indexed PNG, see `outputs.whole`."""
    image = Image.fromarray(labels)
    image.putpalette(palette)
    path = folder / f"{stem}.png"
    with whole(path) as part:
        image.save(part, format="PNG")
    return path


@dataclass(frozen=True)
class PairWriter:
    """Writes the pairs that a training generates (`[generator] debug`).

    It can be pickled, and several threads and processes may write the same name: the last wins.

    Attributes
    ----------
    palette : flat RGB list, see `mask_palette`.
    color_order : "RGB" or "BGR", of the images that are handed over.
    """

    images_dir: Path
    masks_dir: Path
    palette: tuple[int, ...]
    color_order: str = "RGB"

    @classmethod
    def from_config(
        cls, generator: GeneratorConfig, labels: LabelMap, color_order: str
    ) -> PairWriter:
        """The writer into the folders of [generator].

        Raises
        ------
        ConfigError : both folders are one, or the masks' colours cannot be written.
        """
        if generator.generated_images_dir == generator.generated_masks_dir:
            raise ConfigError(
                "Generated images and masks would have the same names in the same folder.",
                "Name two different folders.",
                "[generator] generated_images_dir, generated_masks_dir",
            )
        palette = tuple(mask_palette(labels))
        folders = generator.generated_images_dir, generator.generated_masks_dir
        return cls(*folders, palette, color_order)

    def prepare(self) -> None:
        """Make the folders; what earlier trainings wrote moves aside, what others wrote stays."""
        for folder in (self.images_dir, self.masks_dir):
            make_folder(folder)
            inside = entries_of(folder)
            written = [path for path in inside if is_augmented(path.stem)]
            for path in [folder] if len(written) == len(inside) else written:
                set_aside(path)
            make_folder(folder)

    def write(self, name: str, image: NDArray, labels: NDArray[np.uint8]) -> None:
        """Write a pair under `name` (prefix and case id, without suffix).

        Parameters
        ----------
        image : [H, W, C] as the network sees it: uint8, or float32 in 0..255, which becomes
            16 bits (an array file if it leaves that range).
        labels : class ids [H, W].
        """
        if image.dtype != np.uint8 and image.min() >= 0 and image.max() <= 255:
            image = np.rint(image.astype(np.float32) * 257).astype(np.uint16)
        if self.color_order == "BGR" and image.shape[2] == 3:
            image = image[..., ::-1]
        write_image(self.images_dir, name, image)
        labels = np.ascontiguousarray(labels)
        write_mask(self.masks_dir, name, labels, list(self.palette))
