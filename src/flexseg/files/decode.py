"""From a file to a `Picture`, whatever its format.

Pillow decodes the common 8-bit formats because it refuses truncated files, which OpenCV
fills with grey; OpenCV and tifffile take over where Pillow would lose bits.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from flexseg.files.dicom.recognition import is_dicom
from flexseg.files.encoded import opencv_pixels
from flexseg.files.limits import check_size
from flexseg.files.npy import read_npy
from flexseg.files.picture import Picture, turned
from flexseg.files.tiff import TIFF_SUFFIXES, NotTiffError, decode_tiff

logger = logging.getLogger(__name__)

# Pillow's own guard against decompression bombs knows nothing of this machine; see `check_size`.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION = 0x0112
_GRAY_ALPHA = 4  # of PNG's colour types
# Bytes of a PNG that are checked at once.
_PART = 1 << 20


def decode(path: Path) -> Picture:
    """What a file holds.

    Raises
    ------
    Exception : what decoders raise on damaged files.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return Picture(read_npy(path))
    if is_dicom(path):
        from flexseg.files.dicom.image import read_dicom_image  # takes a while to import

        pixels = read_dicom_image(path)
        return Picture(pixels, colors=pixels.ndim == 3)
    if suffix in TIFF_SUFFIXES:
        try:
            return decode_tiff(path)
        except NotTiffError:
            pass
    return _decode_pillow(path)


def _decode_pillow(path: Path) -> Picture:
    with _open_pillow(path) as image:
        image.load()
        if (frames := getattr(image, "n_frames", 1)) > 1:
            _tell_of_frames(path, frames)
        if _is_deep(image, path):
            return _deep_png(path, png_header(path)[1], image.getexif().get(_ORIENTATION))
        return _of_pillow(image, path)


@contextmanager
def opened_upright(path: Path) -> Iterator[Image.Image | None]:
    """A decoded image, of which `stored_values` gives any part; None where Pillow would lose bits.

    Raises
    ------
    Exception : what decoders raise on damaged files.
    """
    with _open_pillow(path) as image:
        if getattr(image, "n_frames", 1) > 1 or _is_deep(image, path):
            yield None
            return
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        yield image


def _is_deep(image: Image.Image, path: Path) -> bool:
    """Whether this is a PNG of 16 bits and several channels, of which Pillow would keep 8 bits."""
    return image.format == "PNG" and image.mode != "I;16" and png_header(path)[0] == 16


def _deep_png(path: Path, kind: int, orientation: object) -> Picture:
    pixels = turned(opencv_pixels(path.read_bytes()), orientation)
    opaque = None
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels, opaque = pixels[..., :3], pixels[..., 3] >= 1 << 15
    pixels = pixels[..., 0] if kind == _GRAY_ALPHA and pixels.ndim == 3 else pixels
    return Picture(pixels, None, opaque, colors=pixels.ndim == 3)


def _of_pillow(image: Image.Image, path: Path) -> Picture:
    exact_webp = image.format != "WEBP" or is_exact(path)
    lossy = image.format in ("JPEG", "MPO") or not exact_webp
    ImageOps.exif_transpose(image, in_place=True)
    opaque = None
    if image.has_transparency_data:
        opaque = np.asarray(image.convert("RGBA").getchannel("A")) >= 128
    return replace(stored_values(image), opaque=opaque, lossy=lossy)


def stored_values(image: Image.Image) -> Picture:
    """The pixels of an upright image, and whether they are colours."""
    if image.mode in ("P", "PA"):
        palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return Picture(np.asarray(image if image.mode == "P" else image.getchannel("P")), palette)
    pixels = _to_array(image)
    return Picture(pixels, colors=pixels.ndim == 3)


@cache  # training reads a file in every epoch
def _tell_of_frames(path: Path, frames: int) -> None:
    logger.warning("%s: an animation of %d pictures; only the first is read.", path, frames)


def is_exact(path: Path) -> bool:
    """Whether a WebP is of the kind that keeps all values."""
    return b"VP8L" in path.read_bytes()


def pillow_pixels(image: Image.Image) -> NDArray:
    """A Pillow image as [H, W] or [H, W, 3] RGB, turned by the camera's orientation tag."""
    return _to_array(ImageOps.exif_transpose(image))


@contextmanager
def _open_pillow(path: Path) -> Iterator[Image.Image]:
    """An image of which only the header is decoded, and of which size and checksums are right.

    Raises
    ------
    DataError, ValueError : they are not.
    """
    with Image.open(path) as image:
        check_size((image.height, image.width, len(image.getbands())), _pillow_type(image), path)
        if image.format == "PNG":
            _check_png(path)
        yield image


def _pillow_type(image: Image.Image) -> str:
    return "u1" if image.mode in ("1", "L", "P") or len(image.getbands()) > 1 else "i4"


def _check_png(path: Path) -> None:
    """Compare the checksums of a PNG's parts, which decoders do not all do.

    Raises
    ------
    ValueError : one is wrong, or a part is cut off.
    """
    with path.open("rb") as file:
        file.seek(8)
        while len(start := file.read(8)) == 8:
            left, kind = int.from_bytes(start[:4], "big"), start[4:]
            checksum = zlib.crc32(kind)
            while left and (part := file.read(min(left, _PART))):
                checksum = zlib.crc32(part, checksum)
                left -= len(part)
            stored = file.read(4)
            if kind[:1].isupper():  # the others, such as comments, do not change pixels
                if left or len(stored) < 4:
                    raise ValueError("it is cut off")
                if checksum != int.from_bytes(stored, "big"):
                    raise ValueError("a checksum is wrong")
            if kind == b"IEND":
                return
    raise ValueError("it is cut off")


def _to_array(image: Image.Image) -> NDArray:
    if image.mode in ("L", "RGB", "F", "I;16"):
        return np.asarray(image)
    if image.mode in ("I;16B", "I;16L", "I"):
        return np.asarray(image).astype(np.uint16 if image.mode != "I" else np.int32)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode == "LA":
        return np.asarray(image.getchannel("L"))
    return np.asarray(image.convert("RGB"))


def png_header(path: Path) -> tuple[int, int]:
    """Bit depth and colour type of a PNG; zeros of what is none."""
    with path.open("rb") as file:
        header = file.read(26)
    return (header[24], header[25]) if len(header) == 26 else (0, 0)
