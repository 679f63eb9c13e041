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

# X-rays, ultrasound, photographs and microscopy: several of one series are several images, as the
# views of a mammogram are. Terms of DICOM PS3.3, C.7.3.1.1.1, and storage classes of PS3.4, B.5.
_MODALITIES = frozenset({
    "CR", "DX", "RG", "MG", "IO", "PX", "DG", "RF", "XA", "US", "ES", "XC", "GM", "SM", "OP",
})  # fmt: skip
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CLASSES = tuple(_STORAGE + own for own in ("1.", "6.", "12.", "77."))
_RADIOGRAPH = _STORAGE + "1"


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
            "For a volume, use `flexseg infer3d`; for a video, export single frames.",
            str(path),
        )
    check_volume_size((1, *header.size, header.components), np.int16, path)
    pixels: NDArray = gather(iter([slice_pixels(path)]), 1)[0]
    return pixels


def patient_of(path: Path) -> str:
    """What stands for the patient that the header of a DICOM file names; empty of other files.

    Files that cannot be read say nothing here; whoever reads their pixels is told why.
    """
    if not is_dicom(path) or path.is_dir():
        return ""
    with suppress(DataError, OSError):
        header = read_header(path)
        return header.patient if header else ""
    return ""


def stored_type(path: Path) -> np.dtype:
    """The type of the values of an image, as far as it matters: 8 bits, or more."""
    return np.dtype(np.uint8 if image_header(path).bits == 8 else np.int16)


def is_picture(path: Path) -> bool:
    """Whether a DICOM file is a single image without a place in a volume, as X-rays are."""
    return is_dicom(path) and _stands_alone(image_header(path))


def holds_pictures(folder: Path) -> bool:
    """Whether the DICOM files of a folder are images that make no volume.

    None has a place in the patient, and each is of a kind that has none, or a series of its own.
    Files that cannot be read say nothing here; whoever reads them is told why.
    """
    headers = []
    for path in visible(folder):
        if path.is_file() and is_dicom(path):
            with suppress(DataError):
                headers.append(read_header(path))
    images = [header for header in headers if header is not None]
    if not images or not all(map(_stands_alone, images)):
        return False
    return all(
        len(series.headers) == 1 or _is_flat(series.headers[0])
        for series in series_of(images, quiet=True)
    )


def _stands_alone(header: Header) -> bool:
    return header.frames == 1 and not (header.position and header.axes)


def _is_flat(header: Header) -> bool:
    """Whether it is of a kind that has no place in a volume."""
    by_class = header.storage == _RADIOGRAPH or header.storage.startswith(_CLASSES)
    return by_class or header.modality in _MODALITIES
