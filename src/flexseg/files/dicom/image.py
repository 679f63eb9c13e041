"""DICOM files of one picture: X-rays, ultrasound, photographs, single slices."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.files.dicom.frames import gather
from flexseg.files.dicom.recognition import is_dicom
from flexseg.files.dicom.series import (
    Header,
    image_header,
    read_header,
    series_of,
    slice_pixels,
)
from flexseg.files.entries import visible
from flexseg.files.volumes.payload import check_volume_size


def read_dicom_image(path: Path) -> NDArray:
    """The pixels of a file of one frame, after slope and intercept: [H, W], or [H, W, 3] RGB.

    Raises
    ------
    DataError : damaged, several frames, or no image.
    """
    header = image_header(path)
    if header.frames > 1:
        raise DataError(
            f"The DICOM file has {header.frames} frames, expected one image.",
            "Volumes are predicted by `flexseg infer3d`; of videos export single frames.",
            str(path),
        )
    check_volume_size((1, *header.size, header.components), np.int16, path)
    pixels: NDArray = gather(iter([slice_pixels(path)]), 1)[0]
    return pixels


def stored_type(path: Path) -> np.dtype:
    """The type of the values of an image, as far as it matters: 8 bits, or more."""
    return np.dtype(np.uint8 if image_header(path).bits == 8 else np.int16)


def is_picture(path: Path) -> bool:
    """Whether a DICOM file is a single image without a place in a volume, as X-rays are."""
    return is_dicom(path) and _stands_alone(image_header(path))


def holds_pictures(folder: Path) -> bool:
    """Whether the DICOM files of a folder are images that make no volume: each its own series.

    Files that cannot be read say nothing here; whoever reads them is told why.
    """
    headers = []
    for path in visible(folder):
        if path.is_file() and is_dicom(path):
            with suppress(DataError):
                headers.append(read_header(path))
    images = [header for header in headers if header is not None]
    alone = bool(images) and all(map(_stands_alone, images))
    return alone and all(len(series.headers) == 1 for series in series_of(images, quiet=True))


def _stands_alone(header: Header) -> bool:
    return header.frames == 1 and not (header.position and header.axes)
