"""Reading and writing of 2-D images and masks, whatever their format.

Pillow decodes the common 8-bit formats because it refuses truncated files, which OpenCV
fills with grey; OpenCV and tifffile take over where Pillow would lose bits.
"""

from __future__ import annotations

import io
import logging
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from flexseg.errors import DataError
from flexseg.files.entries import require_file
from flexseg.files.limits import check_size
from flexseg.files.npy import check_header, check_numbers, read_npy
from flexseg.outputs import whole

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy", ".gif", ".webp", ".apng",
)  # fmt: skip
MASK_SUFFIXES = (*IMAGE_SUFFIXES, ".npz")
# What photographs are stored in; a WebP may be exact all the same, see `is_lossy`.
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")
_INDEXED_SUFFIXES = (".png", ".apng", ".gif", ".bmp", ".tif", ".tiff")

# Pillow's own guard against decompression bombs knows nothing of this machine; see `check_size`.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class MaskPixels:
    """A mask as stored.

    Attributes
    ----------
    pixels : [H, W] grey or index values, [H, W, 3] RGB uint8, or [H, W, C] one-hot (npz).
    palette : RGB colours [n, 3] uint8 of an indexed image, else None.
    lossy : the file blurs values, see `is_lossy`.
    one_hot : `pixels` are class scores from an npz file.
    mode : the pixel format for people, e.g. "RGB" or "P".
    """

    pixels: NDArray
    palette: NDArray[np.uint8] | None
    lossy: bool
    one_hot: bool
    mode: str


def read_image(path: Path) -> NDArray:
    """An image as [H, W, C], channels in RGB order, in the type that it is stored in.

    Grey images have one channel, palettes are resolved, transparency is dropped, and the
    camera's orientation tag is applied.

    Raises
    ------
    DataError : the file is missing, damaged, or no image.
    """
    require_file(path)
    try:
        pixels = _decode(path)
    except Exception as error:  # on damaged headers, decoders raise whatever they stumble on
        raise _unreadable(path, error) from None
    check_numbers(pixels.dtype, path)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise DataError(
            f"The image has the shape {pixels.shape}, expected height x width x channels.",
            "Save one 2-D image per file (volumes: one slice per file).",
            str(path),
        )
    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise DataError(
            f"{count} pixels are NaN or infinite.",
            "Replace them, for example by the smallest finite value, and save the image again.",
            str(path),
        )
    return pixels


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    if isinstance(error, MemoryError):
        return DataError(
            "The memory does not suffice for this image.",
            "Close other programs; if the image should be small, its header is damaged.",
            str(path),
        )
    size = path.stat().st_size
    reason = "the file is empty" if size == 0 else str(error).split(" @ ")[0] or "unknown format"
    return DataError(
        f"The file cannot be read as an image ({reason}).",
        "It is damaged or of another format than its name says: export or copy it again.",
        str(path),
    )


def _decode(path: Path) -> NDArray:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path)
    if suffix in (".tif", ".tiff"):
        return _decode_tiff(path)
    return _decode_pillow(path)


def _decode_pillow(path: Path) -> NDArray:
    with _open_pillow(path) as image:
        image.load()
        if (frames := getattr(image, "n_frames", 1)) > 1:
            _tell_of_frames(path, frames)
        if image.format == "PNG" and _png_bit_depth(path) == 16 and image.mode != "I;16":
            return _decode_opencv(path)  # Pillow would keep 8 of the 16 bits of a colour PNG
        return pillow_pixels(image)


@cache  # training reads a file in every epoch
def _tell_of_frames(path: Path, frames: int) -> None:
    logger.warning("%s: an animation of %d pictures, of which the first is read.", path, frames)


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
    content = memoryview(path.read_bytes())
    position = 8
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        end = position + 8 + length
        kind = bytes(content[position + 4 : position + 8])
        if kind[:1].isupper():  # the others, such as comments, do not change pixels
            if end + 4 > len(content):
                raise ValueError("it is cut off")
            if zlib.crc32(content[position + 4 : end]) != int.from_bytes(
                content[end : end + 4], "big"
            ):
                raise ValueError("a checksum is wrong")
        if kind == b"IEND":
            return
        position = end + 4
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


def _png_bit_depth(path: Path) -> int:
    with path.open("rb") as file:
        header = file.read(25)
    return header[24] if len(header) == 25 else 0


def _decode_opencv(path: Path) -> NDArray:
    # Not cv2.imread, which cannot open paths with non-ASCII letters on Windows.
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("OpenCV cannot decode it")
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        order = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGB
        return cv2.cvtColor(pixels, order)
    return pixels


def _decode_tiff(path: Path) -> NDArray:
    try:
        tiff = tifffile.TiffFile(path)
    except tifffile.TiffFileError:  # an image of another format under this name
        return _decode_pillow(path)
    with tiff:
        page = tiff.pages[0]
        if len(tiff.pages) > 1 and tiff.series[0].ndim > 3:
            raise ValueError(f"it holds {len(tiff.pages)} pages, expected one image")
        one_of_many = len(tiff.series) > 1
        check_size((page if one_of_many else tiff.series[0]).shape, page.dtype or "u1", path)
        try:
            pixels = tiff.asarray(key=0) if one_of_many else tiff.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _decode_other_tiff(path)
        has_alpha = page.photometric == tifffile.PHOTOMETRIC.RGB and bool(page.extrasamples)
        palette = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
    if palette is not None:
        return (palette.T[pixels.astype(np.intp)] >> 8).astype(
            np.uint8
        )  # writers scale by 256 or by 257
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.ndim == 3 and pixels.shape[0] <= 4 < pixels.shape[2]:
        pixels = np.moveaxis(pixels, 0, -1)  # planar TIFF
    return pixels[..., :3] if has_alpha and pixels.ndim == 3 else pixels


def _decode_other_tiff(path: Path) -> NDArray:
    """A TIFF of a compression that tifffile needs a further package for."""
    try:
        return _decode_opencv(path)
    except ValueError:
        with _open_pillow(path) as image:
            image.load()
            return _to_array(image)


def is_lossy(path: Path) -> bool:
    """Whether a file blurs values at edges: a JPEG, or a WebP that is not of the exact kind.

    Raises
    ------
    DataError : nothing is there.
    """
    if path.suffix.lower() != ".webp":
        return path.suffix.lower() in LOSSY_SUFFIXES
    require_file(path)
    return b"VP8L" not in path.read_bytes()


def read_mask(path: Path) -> MaskPixels:
    """A mask as stored, see `MaskPixels`. Raises DataError if it cannot be read."""
    require_file(path)
    suffix = path.suffix.lower()
    lossy = is_lossy(path)
    if suffix == ".npz":
        return _read_npz(path)
    if suffix in _INDEXED_SUFFIXES and (indexed := _read_indexed(path)):
        return indexed
    pixels = read_image(path)
    channels = pixels.shape[2]
    if channels in (1, 2):
        return MaskPixels(pixels[..., 0], None, lossy, False, f"grey {pixels.dtype}")
    if suffix == ".npy" and channels not in (3, 4):
        return MaskPixels(pixels, None, False, True, "one-hot")
    rgb = pixels[..., :3]
    if rgb.dtype != np.uint8:
        scale = 257 if rgb.dtype == np.uint16 else 1
        rgb = np.clip(rgb / scale, 0, 255).astype(np.uint8)
    return MaskPixels(rgb, None, lossy, False, "RGB")


def _read_indexed(path: Path) -> MaskPixels | None:
    """An image with a palette; None for all others, and for what Pillow cannot read."""
    try:
        with _open_pillow(path) as image:
            if image.mode != "P":
                return None
            image.load()
            palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
            return MaskPixels(np.asarray(image), palette, False, False, "P")
    except Exception:  # `read_image` reads the file in another way, or says what is wrong
        return None


def _read_npz(path: Path) -> MaskPixels:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            if not names:
                raise ValueError("it holds no array")
            entry = archive.getinfo("mask.npy" if "mask.npy" in names else names[0])
            with archive.open(entry) as file:
                check_header(file, entry.file_size, path)
            with archive.open(entry) as file:
                pixels = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # zipfile raises its own, undocumented set
        raise _unreadable(path, error) from None
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise DataError(
            f"The mask has the shape {pixels.shape}, expected height x width (x classes).",
            "Save it as class ids [H, W] or one-hot [H, W, classes] under the key 'mask'.",
            str(path),
        )
    one_hot = pixels.ndim == 3
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels, one_hot = pixels[..., 0], False
    return MaskPixels(pixels, None, False, one_hot, "one-hot" if one_hot else "index")


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
    """The type of an image's values, read from its header alone; uint8 if it has none."""
    suffix = path.suffix.lower()
    try:
        require_file(path)
        if suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False).dtype
        if suffix in (".png", ".apng") and _png_bit_depth(path) > 8:
            return np.dtype(np.uint16)
        if suffix in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as tiff:
                return np.dtype(tiff.pages[0].dtype or np.uint8)
    except Exception:  # see `read_image`
        return np.dtype(np.uint8)
    return np.dtype(np.uint8)
