"""Reading and writing of 2-D images and masks, whatever their format."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.config.findings import amount
from flexseg.errors import DataError
from flexseg.files.decode import decode, is_exact, png_header
from flexseg.files.dicom.recognition import DICOM_SUFFIXES, is_dicom
from flexseg.files.entries import require_file
from flexseg.files.limits import TooLargeError
from flexseg.files.mask_pixels import as_rgb, of_channels, seen
from flexseg.files.npy import check_numbers, map_npy, read_array
from flexseg.files.picture import Picture
from flexseg.files.tiff import TIFF_SUFFIXES
from flexseg.outputs import whole

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy", ".gif", ".webp", ".apng",
    *DICOM_SUFFIXES,
)  # fmt: skip
# Of formats that are of nothing but single images.
PICTURE_SUFFIXES = tuple(s for s in IMAGE_SUFFIXES if s not in DICOM_SUFFIXES)
MASK_SUFFIXES = (*IMAGE_SUFFIXES, ".npz")
# What photographs are stored in; a WebP may be exact all the same, see `is_lossy`.
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")
# Words that name the array of a mask in an archive of several; the first ones are preferred.
_MASK_ARRAYS = ("mask", "masks", "label", "labels", "seg", "segmentation", "gt", "annotation")
# An array has fewer channels than this and more rows, unless the two are exchanged.
_FEW_CHANNELS, _MANY = 4, 16


@dataclass(frozen=True)
class MaskPixels:
    """A mask as stored.

    Attributes
    ----------
    pixels : [H, W] grey or index values, [H, W, 3] RGB uint8, or [H, W, C] class scores from 0 to
        1, background first.
    palette : RGB colours [n, 3] uint8 of an indexed image, else None.
    lossy : the file blurs values, as JPEG does.
    one_hot : `pixels` are class scores.
    mode : the pixel format for people, e.g. "RGB", "P", or "grey uint8 transparency" where
        transparency alone tells what is marked.
    ignored : pixels that count in nothing, as masks of their own say, [H, W]; None: none do.
    """

    pixels: NDArray
    palette: NDArray[np.uint8] | None
    lossy: bool
    one_hot: bool
    mode: str
    ignored: NDArray[np.bool_] | None = None


def is_image(path: Path) -> bool:
    """Whether a file is meant to be an image: by its name, or as DICOM by its content."""
    return path.suffix.lower() in IMAGE_SUFFIXES or is_dicom(path)


def read_image(path: Path) -> NDArray:
    """An image as [H, W, C], channels in RGB order, in the type that it is stored in.

    Grey images have one channel, palettes are resolved, transparency is dropped, and the
    camera's orientation tag is applied.

    Raises
    ------
    DataError : the file is missing, damaged, or no image.
    """
    picture = _decoded(path)
    try:
        pixels = picture.resolved()
    except ValueError as error:
        raise _unreadable(path, error) from None
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if not picture.colors and pixels.shape[0] <= _FEW_CHANNELS < _MANY < pixels.shape[2]:
        raise DataError(
            f"The array has the shape {pixels.shape}: its channels seem to come first.",
            "Save it as [height, width, channels], for example with numpy.moveaxis(a, 0, -1).",
            str(path),
        )
    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise DataError(
            f"{amount(count, 'pixel', 'is', 'are')} NaN or infinite.",
            "Replace them, for example by the smallest finite value, and save the image again.",
            str(path),
        )
    return pixels


def _decoded(path: Path) -> Picture:
    """What an image file holds; its shape and its values make an image."""
    require_file(path)
    try:
        picture = decode(path)
    except Exception as error:  # on damaged headers, decoders raise whatever they stumble on
        raise _unreadable(path, error) from None
    check_numbers(picture.pixels.dtype, path)
    shape = picture.pixels.shape
    if len(shape) not in (2, 3) or 0 in shape:
        raise DataError(
            f"The image has the shape {shape}, expected height x width x channels.",
            "Save one 2-D image per file (volumes: one slice per file).",
            str(path),
        )
    native = picture.pixels.dtype.newbyteorder("=")
    return replace(picture, pixels=picture.pixels.astype(native, copy=False))


def image_size(path: Path) -> tuple[int, int] | None:
    """Height and width of an image, read from its header alone; None if that cannot be read."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            height, width = map_npy(path).shape[:2]
            return int(height), int(width)
        if suffix in TIFF_SUFFIXES:
            with tifffile.TiffFile(path) as tiff:
                return int(tiff.pages[0].imagelength), int(tiff.pages[0].imagewidth)
        if is_dicom(path):
            from flexseg.files.dicom.series import image_header  # takes a while to import

            return image_header(path).size
        with Image.open(path) as image:
            return image.height, image.width
    except Exception:  # see `read_image`
        return None


def pixel_count(path: Path) -> int:
    """Pixels of an image, read from its header alone; 0 if that cannot be read."""
    height, width = image_size(path) or (0, 0)
    return height * width


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    if isinstance(error, MemoryError):
        return TooLargeError(
            "There is not enough memory for this image.",
            "Close other programs. If the image should be small, its header is damaged: export "
            "it again.",
            str(path),
        )
    size = path.stat().st_size
    reason = "the file is empty" if size == 0 else _reason(error) or "unknown format"
    return DataError(
        f"The file cannot be read as an image ({reason}).",
        "It is damaged, or not in the format that its name says: export or copy it again.",
        str(path),
    )


def _reason(error: Exception) -> str:
    """What a decoder says, without the place in its source and in one line."""
    text = re.sub(r"^OpenCV\([^)]*\) .*? error: \([^)]*\) ", "", str(error), flags=re.DOTALL)
    return " ".join(text.split(" @ ")[0].split())


def is_lossy(path: Path) -> bool:
    """Whether a file blurs values at edges: a JPEG, or a WebP that is not of the exact kind.

    Raises
    ------
    DataError : nothing is there.
    """
    if path.suffix.lower() != ".webp":
        return path.suffix.lower() in LOSSY_SUFFIXES
    require_file(path)
    return not is_exact(path)


def read_mask(path: Path) -> MaskPixels:
    """A mask as stored, see `MaskPixels`.

    Raises
    ------
    DataError : it cannot be read, its values do not tell what its channels are, or some are no
        numbers.
    """
    archive = path.suffix.lower() == ".npz"
    picture = Picture(_read_npz(path)) if archive else _decoded(path)
    try:
        picture, how = seen(picture)
    except ValueError as error:
        raise _unreadable(path, error) from None
    pixels = picture.pixels
    if picture.palette is not None:
        return MaskPixels(pixels, picture.palette, False, False, "P")
    kind = "RGB" if picture.colors else "grey"
    if pixels.ndim == 3 and not picture.colors:
        pixels, kind = of_channels(pixels, str(path))
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DataError(
            "Some values of the mask are not finite numbers (NaN or infinite).",
            "Save 0 there if it is background; or save a value of its own and name it in [mask] "
            "ignore.",
            str(path),
        )
    pixels = as_rgb(pixels) if kind == "RGB" else pixels
    mode = f"grey {pixels.dtype}" if kind == "grey" else kind
    return MaskPixels(pixels, None, picture.lossy, kind == "one-hot", f"{mode} {how}".rstrip())


def _read_npz(path: Path) -> NDArray:
    require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(_array_name(archive.namelist(), path))
            with archive.open(entry) as file:
                pixels = read_array(file, entry.file_size, path)
    except Exception as error:  # zipfile raises its own, undocumented set
        raise _unreadable(path, error) from None
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise DataError(
            f"The mask has the shape {pixels.shape}, expected height x width (x classes).",
            "Save it as class ids [H, W] or one-hot [H, W, classes] under the key 'mask'.",
            str(path),
        )
    return pixels


def _array_name(entries: list[str], path: Path) -> str:
    """The array of an archive that is the mask: the only one, or the one with such a name."""
    names = [name.removesuffix(".npy") for name in entries if name.endswith(".npy")]
    if not names:
        raise ValueError("it contains no array")
    known = [name for word in _MASK_ARRAYS for name in names if name.lower() == word]
    if len(names) > 1 and not known:
        raise DataError(
            f"The archive contains {len(names)} arrays, and none is named 'mask': "
            f"{', '.join(names)}.",
            "Save the mask under the key 'mask'.",
            str(path),
        )
    return f"{(known or names)[0]}.npy"


def write_png(path: Path, pixels: NDArray[np.uint8], palette: list[int] | None = None) -> None:
    """Write an 8-bit PNG ([H, W] or [H, W, 3] RGB), whole or not at all.

    Parameters
    ----------
    palette : flat RGB list; makes [H, W] class ids an indexed image.

    Raises
    ------
    ResourceError : the place cannot be written to.
    """
    with whole(path) as part:
        part.write_bytes(encode_png(pixels, palette))


def encode_png(pixels: NDArray, palette: list[int] | None = None) -> bytes:
    """The content of a PNG of [H, W] or RGB [H, W, 3], 8 or 16 bits.

    Parameters
    ----------
    palette : flat RGB list; makes [H, W] class ids (8 bits) an indexed image.
    """
    if palette is None and pixels.dtype in (np.uint8, np.uint16):
        # A photograph takes OpenCV a twentieth of Pillow's time, and a fifth more bytes.
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
        return cv2.imencode(".png", bgr)[1].tobytes()
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def is_8bit(path: Path) -> bool:
    """Whether an image stores 8 bits per channel, read from its header alone.

    A file that cannot be read counts as 8-bit; reading it will say what is wrong.
    """
    return stored_dtype(path) in (np.uint8, np.bool_)


def stored_dtype(path: Path) -> np.dtype:
    """The type of an image's values, read from its header alone.

    uint8 if it has none, or one that no image has, which reading it tells of.
    """
    suffix = path.suffix.lower()
    try:
        require_file(path)
        if suffix == ".npy":
            return map_npy(path).dtype
        if suffix in (".png", ".apng") and png_header(path)[0] > 8:
            return np.dtype(np.uint16)
        if is_dicom(path):
            from flexseg.files.dicom.image import stored_type  # takes a while to import

            return stored_type(path)
        if suffix in TIFF_SUFFIXES:
            with tifffile.TiffFile(path) as tiff:
                return np.dtype(tiff.pages[0].dtype or np.uint8)
    except Exception:  # see `read_image`
        return np.dtype(np.uint8)
    return np.dtype(np.uint8)
