"""Pictures of a volume's slices, masks and overlays, named and laid out as the originals do."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flexseg.config.infer import Infer3dConfig
from flexseg.dataset.labels import LabelMap
from flexseg.files.entries import list_files
from flexseg.files.images import read_image, write_png
from flexseg.files.resizing import resize
from flexseg.inference.pictures.overlay import shown_colors
from flexseg.outputs import make_folder

logger = logging.getLogger(__name__)

_FIRST = 10001


class SlicePictures:
    """Writes `slices/`, `masks/` and `overlays/` of one volume.

    Parameters
    ----------
    folder : of the volume.
    """

    def __init__(self, folder: Path, config: Infer3dConfig, label_map: LabelMap) -> None:
        self.folder = folder
        self.config = config
        self.label_map = label_map
        names = ("slices", "masks", "overlays") if config.mask_overlay else ("slices", "masks")
        for name in names:
            make_folder(folder / name)

    def mask(self, i: int, labels: NDArray[np.uint8]) -> None:
        """Write the mask [h, w] of slice `i`."""
        self._write("masks", i, labels, self.label_map.palette)

    def slice(self, i: int, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Write slice `i`, its overlay, and its mask if it has none yet.

        Parameters
        ----------
        pixels : [rows, columns] or [rows, columns, 3].
        labels : class ids [rows, columns]; they follow where `slice_resize` leads.
        """
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        path = self._path("masks", i)
        size = self.config.slice_resize
        if size is not None:
            pixels = resize(pixels, size[::-1], "bilinear")
            labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
        if path.exists():
            with Image.open(path) as image:
                labels = np.asarray(image)
        else:
            self.mask(i, labels)
        self._write("slices", i, pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        if self.config.mask_overlay:
            self._write("overlays", i, self.overlay(pixels, labels))

    def overlay(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`overlay_alpha` image + `overlay_beta` colour + `overlay_gamma` where there is a class.

        Parameters
        ----------
        pixels : [h, w, 1 or 3].
        labels : class ids [h, w].
        """
        c = self.config
        rgb = np.broadcast_to(pixels, (*labels.shape, 3))
        colors = shown_colors(self.label_map)[labels].astype(np.float32)
        mixed = c.overlay_alpha * rgb + c.overlay_beta * colors + c.overlay_gamma
        mixed = np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
        return np.where((labels > 0)[..., None], mixed, rgb)

    def video(self, path: Path) -> None:
        """Write the pictures of `video_type` as a video."""
        kind = self.config.video_type
        pictures = list_files(self.folder / kind, [".png"]) if self._has(kind) else []
        if not pictures:
            logger.warning(
                "%s: no video, as no overlays are written with mask_overlay = False.", path.name
            )
            return
        from flexseg.inference.pictures.video import write_video

        frames = (_rgb(read_image(picture)) for picture in pictures)
        write_video(path, frames, self.config.video_fps)

    def _has(self, kind: str) -> bool:
        return kind != "overlays" or self.config.mask_overlay

    def _path(self, kind: str, i: int) -> Path:
        return self.folder / kind / f"{_FIRST + i}.png"

    def _write(
        self, kind: str, i: int, pixels: NDArray[np.uint8], palette: list[int] | None = None
    ) -> None:
        write_png(self._path(kind, i), np.ascontiguousarray(pixels), palette)


def _rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
