"""TIFF images: each tag that changes what the stored numbers mean is applied, or refused.

tifffile tells the tags and decodes what it can without further packages; Pillow and OpenCV decode
other compressions. The two apply some tags and not others, by type and version, so they are given
the file with these tags made neutral.

Tags: TIFF 6.0 (https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf); what is done with
each of them stands in docs/reference/formats.md.
"""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tifffile import PHOTOMETRIC

from flexseg.errors import DataError
from flexseg.files.encoded import opencv_pixels
from flexseg.files.limits import check_size
from flexseg.files.picture import Picture, turned
from flexseg.machine import pip_install

TIFF_SUFFIXES = (".tif", ".tiff")
_ORIENTATION, _PHOTOMETRIC, _INK_SET, _DOT_RANGE = 274, 262, 332, 336
_GRAY = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)
_READ = (*_GRAY, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE, PHOTOMETRIC.SEPARATED, PHOTOMETRIC.YCBCR)
_PLAIN = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
_JPEG = (6, 7, 34892)
_CMYK = 1
# Tags without which the pixels are others: sizes, bits, compression, strips and tiles, predictor,
# palette, kinds of samples.
_NEEDED = {256, 257, 258, 259, _PHOTOMETRIC, 273, 277, 278, 279, 284, 317, 320, *range(322, 326),
           338, 339}  # fmt: skip
# Bits of NewSubfileType: a smaller copy, a transparency mask.
_NO_IMAGE = 1 | 4
# Names that tifffile gives to axes.
_AXES = {"Z": "slices of a stack", "T": "times", "Q": "pages", "I": "pages", "R": "pages"}


class NotTiffError(Exception):
    """A file of another format under this name."""


def decode_tiff(path: Path) -> Picture:
    """The one image of a TIFF file.

    Raises
    ------
    NotTiffError : it is none.
    DataError : it holds several images, or values whose meaning is not known.
    Exception : what decoders raise on damaged files.
    """
    try:
        tiff = tifffile.TiffFile(path)
    except tifffile.TiffFileError as error:
        raise NotTiffError from error
    with tiff:
        page, channels = _image_of(tiff, path)
        _check_meaning(page, path)
        shape = tiff.series[0].shape if channels else page.shape
        check_size(shape, page.dtype or "u1", path)
        pixels = _decoded(tiff, page, channels)
        return _as_tagged(pixels, page, tiff)


def is_one_plain_image(tiff: tifffile.TiffFile, path: Path) -> bool:
    """Whether the first page is the image, and no tag but a palette changes its numbers.

    Raises
    ------
    DataError : see `decode_tiff`.
    """
    page, channels = _image_of(tiff, path)
    _check_meaning(page, path)
    wide = page.bitspersample >= 8 or page.bitspersample == 1
    plain = page.photometric in _PLAIN or (
        page.photometric == PHOTOMETRIC.YCBCR and page.compression in _JPEG
    )
    transparent = _alpha(page)
    dropped = transparent is None or (page.photometric == PHOTOMETRIC.RGB and not transparent[1])
    return not channels and wide and plain and dropped and _tag(page, _ORIENTATION, 1) == 1


def _tag(page: tifffile.TiffPage, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value


def _alpha(page: tifffile.TiffPage) -> tuple[int, bool] | None:
    """Which sample is the transparency, and whether colours are multiplied by it."""
    samples = page.extrasamples or ()
    first = page.samplesperpixel - len(samples)
    for i, kind in enumerate(samples):
        if kind in (1, 2):
            return first + i, kind == 1
    return None


def _image_of(tiff: tifffile.TiffFile, path: Path) -> tuple[tifffile.TiffPage, bool]:
    """The page of the image, and whether further pages are channels of it.

    Raises
    ------
    DataError : there are several images.
    ValueError : the file is cut off within its tags.
    """
    len(tiff.pages)  # finds pages that lead around in circles, on which `series` does not end
    page, series = tiff.pages[0], tiff.series[0]
    _refuse_lost_tags(tiff, page)
    first = page.imagewidth * page.imagelength
    others = [p for own in tiff.series[1:] for p in own.pages if p is not None]
    # Thumbnails and levels of a pyramid are smaller; transparency masks are no images.
    if any(not p.subfiletype & _NO_IMAGE and p.imagewidth * p.imagelength >= first for p in others):
        raise _several(f"{len(tiff.pages)} pages of several kinds", path)
    axes = {name: n for name, n in zip(series.axes, series.shape, strict=True) if n > 1}
    for name, count in axes.items():
        if name not in "YXSC":
            raise _several(f"{count} {_AXES.get(name, 'images')}", path)
    if "C" in axes and "S" in axes:
        raise _several(f"{axes['C']} channels of {axes['S']} colours each", path)
    if page.imagedepth > 1:
        raise _several(f"a volume of {page.imagedepth} slices", path)
    return page, "C" in axes


def _refuse_lost_tags(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
    """tifffile passes over tags whose values lie beyond the end of the file, and takes defaults.

    Raises
    ------
    ValueError : one of them changes the pixels.
    """
    form, file = tiff.tiff, tiff.filehandle
    file.seek(page.offset)
    (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    table = file.read(count * form.tagsize)
    starts = range(0, len(table) - 1, form.tagsize)
    codes = {struct.unpack_from(f"{form.byteorder}H", table, start)[0] for start in starts}
    if lost := sorted(code for code in codes & _NEEDED if code not in page.tags):
        raise ValueError(f"the values of tag {lost[0]} lie beyond the end of the file")


def _several(what: str, path: Path) -> DataError:
    return DataError(
        f"The file holds {what}, expected one image.",
        "Save each slice as a file of its own. Channels of one image must be marked as such: as "
        "axis C of OME-TIFF or ImageJ, or as samples of one page (tifffile: "
        "planarconfig='contig').",
        str(path),
    )


def _check_meaning(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse what the numbers of a page could only be guessed to mean."""
    photometric = page.photometric
    what = None
    signed = page.dtype is not None and page.dtype.kind not in "ub"
    if photometric not in _READ:
        name = getattr(photometric, "name", photometric)
        what = f"The photometric interpretation of the image is {name}, expected grey or RGB."
    elif photometric == PHOTOMETRIC.MINISWHITE and signed:
        what = (
            "The tags of the image say that the smallest value is white, but its values are "
            "signed or floats."
        )
    elif photometric == PHOTOMETRIC.SEPARATED:
        whole = tuple(_tag(page, _DOT_RANGE, ()))[:2] in ((), (0, 2**page.bitspersample - 1))
        if _tag(page, _INK_SET, _CMYK) != _CMYK or page.samplesperpixel < 4 or not whole or signed:
            what = "The channels of the image are inks other than cyan, magenta, yellow and black."
    if what is not None:
        raise DataError(what, "Save it as grey or RGB, with black as 0.", str(path))


def _decoded(tiff: tifffile.TiffFile, page: tifffile.TiffPage, channels: bool) -> NDArray:
    """Numbers as stored, [H, W] or [H, W, C]; YCbCr as RGB."""
    if page.photometric == PHOTOMETRIC.YCBCR:
        return _by_others(tiff, page)
    try:
        pixels = tiff.series[0].asarray() if channels else page.asarray()
    except (ValueError, NotImplementedError, ImportError) as error:
        if not (isinstance(error, ImportError) or "imagecodecs" in str(error)):
            raise
        return _by_others(tiff, page, channels)
    pixels = np.squeeze(pixels) if pixels.ndim > 3 else pixels
    planar = page.planarconfig == 2 and page.samplesperpixel > 1
    return np.moveaxis(pixels, 0, -1) if (channels or planar) and pixels.ndim == 3 else pixels


def _by_others(tiff: tifffile.TiffFile, page: tifffile.TiffPage, channels: bool = False) -> NDArray:
    """Numbers as stored by Pillow, or by OpenCV what Pillow would cut to 8 bits.

    Raises
    ------
    DataError : no decoder knows its compression.
    """
    try:
        if channels:  # they would read the first page only
            raise ValueError
        return _decoded_by_others(tiff, page)
    except (OSError, ValueError):
        kind = getattr(page.compression, "name", page.compression)
        raise DataError(
            "The file cannot be read as an image: it is damaged, or no installed decoder knows "
            f"its compression ({kind}).",
            "Save it with Deflate, LZW or no compression; or install more decoders: "
            f"{pip_install('wsi')}.",
            str(tiff.filehandle.path),
        ) from None


def _decoded_by_others(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> NDArray:
    content = _neutral(tiff, page)
    bits = page.bitspersample
    if bits > 8 and page.samplesperpixel > 1:
        return opencv_pixels(content)
    try:
        with Image.open(BytesIO(content)) as image:
            image.load()
            in_rgb = page.photometric == PHOTOMETRIC.YCBCR
            pixels = np.asarray(image.convert("RGB") if in_rgb else image)
    except OSError:
        pixels = opencv_pixels(content)
        return pixels >> (16 - bits) if 8 < bits < 16 else pixels
    if 1 < bits < 8 and page.photometric in _GRAY:
        return pixels // (255 // (2**bits - 1))
    return pixels


def _neutral(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> bytes:
    """The file without its orientation, and with black as 0."""
    handle = tiff.filehandle
    handle.seek(0)
    content = bytearray(handle.read())
    for code, old in ((_ORIENTATION, range(2, 9)), (_PHOTOMETRIC, (0,))):
        tag = page.tags.get(code)
        if tag is not None and tag.value in old and tag.count == 1:
            kind = {1: "B", 3: "H", 4: "I"}.get(int(tag.dtype))
            if kind is None:
                raise ValueError(f"its tag {tag.name} is damaged")
            struct.pack_into(tiff.byteorder + kind, content, tag.valueoffset, 1)
    return bytes(content)


def _as_tagged(pixels: NDArray, page: tifffile.TiffPage, tiff: tifffile.TiffFile) -> Picture:
    """What the numbers mean as the tags say."""
    photometric, bits = page.photometric, page.bitspersample
    opaque = None
    if photometric == PHOTOMETRIC.PALETTE:
        pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    else:
        pixels = _scaled(pixels, bits)
        if (alpha := _alpha(page)) is not None and pixels.ndim == 3:
            pixels, opaque = _without_alpha(pixels, *alpha)
    if photometric == PHOTOMETRIC.MINISWHITE and not _is_array(page, tiff):
        top = 2**bits - 1 if bits > 8 else 255
        pixels = (top - pixels).astype(pixels.dtype)
    colors = photometric not in _GRAY and photometric != PHOTOMETRIC.PALETTE
    if photometric == PHOTOMETRIC.SEPARATED:
        pixels = _of_inks(pixels, 2**bits - 1 if bits > 8 else 255)
    if colors and pixels.ndim == 3:
        pixels = pixels[..., :3]
    orientation = _tag(page, _ORIENTATION, 1)
    return Picture(
        turned(pixels, orientation),
        palette_of(page) if photometric == PHOTOMETRIC.PALETTE else None,
        None if opaque is None else turned(opaque, orientation),
        colors,
        lossy=page.compression in _JPEG,
    )


def _is_array(page: tifffile.TiffPage, tiff: tifffile.TiffFile) -> bool:
    """Whether tifffile wrote a Boolean array: it calls True black, which nobody means."""
    return page.bitspersample == 1 and tiff.is_shaped and "tifffile" in str(page.software)


def _scaled(pixels: NDArray, bits: int) -> NDArray:
    """Grey values of fewer than 8 bits as 0 to 255."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    return pixels * np.uint8(255 // (2**bits - 1)) if bits < 8 else pixels


def _without_alpha(
    pixels: NDArray, index: int, multiplied: bool
) -> tuple[NDArray, NDArray[np.bool_]]:
    """The other samples, and where they can be seen."""
    alpha = pixels[..., index].astype(np.float64)
    kind = pixels.dtype
    top = np.iinfo(kind).max if kind.kind in "ui" else 1.0
    rest = np.delete(pixels, index, axis=-1)
    if multiplied and (alpha < top).any():
        share = np.maximum(alpha, 1e-9)[..., None] / top
        rest = np.minimum(np.rint(rest / share) if kind.kind in "ui" else rest / share, top)
        rest = np.where(alpha[..., None] > 0, rest, 0).astype(kind)
    return rest[..., 0] if rest.shape[-1] == 1 else rest, alpha >= top / 2


def _of_inks(pixels: NDArray, top: int) -> NDArray:
    """RGB of cyan, magenta, yellow and black, without colour management."""
    inks = top - pixels[..., :4].astype(np.int64)
    return np.rint(inks[..., :3] * inks[..., 3:] / top).astype(pixels.dtype)


def palette_of(page: tifffile.TiffPage) -> NDArray[np.uint8]:
    """The colours [n, 3] of an indexed page.

    Raises
    ------
    ValueError : it has none.
    """
    table = np.asarray(page.colormap if page.colormap is not None else ())
    if table.ndim != 2 or table.shape[0] != 3:
        raise ValueError("its palette is damaged")
    # Writers scale by 256 or by 257; some forget to.
    return (table.T >> 8 if table.max(initial=0) > 255 else table.T).astype(np.uint8)
