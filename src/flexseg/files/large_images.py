"""Images of any size read by rows, and label maps of any size.

Whole-slide images have 10^9 pixels and more. A tiled or striped TIFF is decoded segment by segment
as its rows are asked for, an `.npy` is memory-mapped; all other formats are decoded whole.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.errors import DataError, ResourceError
from flexseg.files.decode import opened_upright, stored_values
from flexseg.files.entries import require_file
from flexseg.files.images import pixel_count, read_image, write_png
from flexseg.files.limits import check_size, largest_image
from flexseg.files.npy import map_npy
from flexseg.files.tiff import TIFF_SUFFIXES, is_one_plain_image, palette_of
from flexseg.machine import pip_install
from flexseg.outputs import whole

# From here on images are read by rows, and label maps are held and written as files of tiles.
LARGE_PIXELS = 100_000_000
_TILE = 512


class Regions(Protocol):
    """An image whose rows can be read.

    Attributes
    ----------
    shape : (height, width, channels).
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def rows(self, part: slice) -> NDArray:
        """The rows [h, W, C] of a slice; channels and values are those of `read_image`."""
        ...


class ArrayRows:
    """An image in memory, or memory-mapped.

    Parameters
    ----------
    pixels : [H, W, C].
    """

    def __init__(self, pixels: NDArray, path: Path | None = None) -> None:
        self.pixels = pixels
        self.path = path
        self.shape = pixels.shape

    def rows(self, part: slice) -> NDArray:
        """See `Regions`. Raises DataError for values that are not finite."""
        return _finite(np.asarray(self.pixels[part]), self.path)


class PillowRows:
    """A decoded image that only Pillow has in memory.

    Parameters
    ----------
    image : turned upright.
    """

    def __init__(self, image: Image.Image, path: Path) -> None:
        self.image = image
        self.path = path
        self.shape = (image.height, image.width, self.rows(slice(0, 1)).shape[2])

    def rows(self, part: slice) -> NDArray:
        """See `Regions`. Raises DataError for values that are not finite or in no palette."""
        start, stop, _ = part.indices(self.image.height)
        rows = self.image.crop((0, start, self.image.width, max(start, stop)))
        try:
            pixels = stored_values(rows).resolved()
        except ValueError:
            raise _without_color(self.path) from None
        return _finite(pixels if pixels.ndim == 3 else pixels[..., None], self.path)


class TiffRows:
    """One image of an open TIFF, of which only the tiles or strips that are asked for are decoded.

    The last row of tiles (strip) stays decoded, as the next rows often begin in it.
    """

    def __init__(self, page: tifffile.TiffPage, path: Path) -> None:
        self.page = page
        self.path = path
        indexed = page.photometric == tifffile.PHOTOMETRIC.PALETTE
        self._palette = palette_of(page) if indexed else None
        # Transparency is dropped, as `read_image` does.
        has_alpha = page.photometric == tifffile.PHOTOMETRIC.RGB and bool(page.extrasamples)
        samples = 3 if has_alpha or self._palette is not None else page.samplesperpixel
        self.shape = (page.imagelength, page.imagewidth, samples)
        self._band: tuple[int, NDArray] | None = None
        self._mapped = self._map() if page.is_memmappable else None

    def rows(self, part: slice) -> NDArray:
        """See `Regions`.

        Raises
        ------
        DataError : a part of the file is damaged or compressed in an unknown way, or has values
            that are not finite.
        """
        start, stop, _ = part.indices(self.shape[0])
        stop = max(start, stop)
        page = self.page
        pixels = np.empty((stop - start, self.shape[1], page.samplesperpixel), page.dtype)
        if self._mapped is not None:
            pixels[...] = self._mapped[start:stop]
            return self._converted(pixels)
        height = page.tilelength if page.is_tiled else page.rowsperstrip
        for band in range(start // height, math.ceil(stop / height)):
            first = band * height
            rows = self._decoded(band, height)[max(start - first, 0) : stop - first]
            at = max(first - start, 0)
            pixels[at : at + len(rows)] = rows
        return self._converted(pixels)

    def _map(self) -> NDArray:
        """Pixels [H, W, samples] that lie in the file one after the other, uncompressed."""
        mapped = self.page.asarray(out="memmap")
        if mapped.ndim == 2:
            mapped = mapped[..., None]
        elif self.page.planarconfig == 2:
            mapped = np.moveaxis(mapped, 0, -1)
        if mapped.shape != (*self.shape[:2], self.page.samplesperpixel):
            raise ValueError(
                f"its pixels have the shape {mapped.shape}, but its header says {self.shape}"
            )
        return mapped

    def _converted(self, pixels: NDArray) -> NDArray:
        if self._palette is not None:
            indices = pixels[..., 0].astype(np.intp)
            if indices.max(initial=0) >= len(self._palette) or indices.min(initial=0) < 0:
                raise _without_color(self.path)
            return self._palette[indices]
        if pixels.dtype == bool:
            return pixels.astype(np.uint8) * 255
        return _finite(pixels[..., : self.shape[2]], self.path)

    def _decoded(self, band: int, height: int) -> NDArray:
        """One row of tiles, or one strip: [rows, W, samples]."""
        if self._band is None or self._band[0] != band:
            page = self.page
            rows = min(height, self.shape[0] - band * height)
            result = np.zeros((rows, self.shape[1], page.samplesperpixel), page.dtype)
            across = math.ceil(self.shape[1] / page.tilewidth) if page.is_tiled else 1
            planes = page.samplesperpixel if page.planarconfig == 2 else 1
            bands = math.ceil(self.shape[0] / height)
            for plane in range(planes):
                target = result[..., plane : plane + 1] if planes > 1 else result
                for i in range(across):
                    self._decode_into(target, (plane * bands + band) * across + i)
            self._band = band, result
        return self._band[1]

    def _decode_into(self, target: NDArray, index: int) -> None:
        page = self.page
        try:
            file = page.parent.filehandle
            count = page.databytecounts[index]
            if count == 0:
                return  # a tile that was left out, as empty
            file.seek(page.dataoffsets[index])
            data = file.read(count)
            if len(data) < count:
                raise ValueError("the file ends too early")
            tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
            segment, (_, _, _, column, _), _ = page.decode(data, index, **tables)
            piece = segment[0, : target.shape[0], : target.shape[1] - column]
            target[: piece.shape[0], column : column + piece.shape[1]] = piece
        except Exception as error:  # decoders raise whatever they stumble on
            raise _unreadable(page, error, self.path) from None


def _unreadable(page: tifffile.TiffPage, error: Exception, path: Path) -> DataError:
    if isinstance(error, ImportError) or "imagecodecs" in str(error):
        name = getattr(page.compression, "name", str(page.compression))
        return DataError(
            f"The image is large and compressed as {name}: reading it in parts needs the package "
            "imagecodecs, which is not installed.",
            f"Install it: {pip_install('wsi')}, or save the image with deflate compression.",
            str(path),
        )
    return DataError(
        f"A part of the image cannot be decoded ({error}).",
        "It is damaged: export or copy it again.",
        str(path),
    )


def _without_color(path: Path) -> DataError:
    return DataError(
        "Some pixels have no colour in the palette.",
        "It is damaged: export or copy it again.",
        str(path),
    )


def _finite(pixels: NDArray, path: Path | None) -> NDArray:
    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).all():
        raise DataError(
            "Some pixels are NaN or infinite.",
            "Replace them, for example by the smallest finite value, and save the image again.",
            str(path or ""),
        )
    return pixels


@contextmanager
def open_regions(path: Path, large: int = LARGE_PIXELS) -> Iterator[Regions]:
    """Open an image for reading by rows.

    Parameters
    ----------
    large : images of fewer pixels are decoded at once, as `read_image` does.

    Raises
    ------
    DataError : the file is missing, damaged, or no image.
    """
    require_file(path)
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        tiff, page = _open_tiff(path, large)
        if tiff is not None:
            with tiff:
                yield _tiff_rows(page, path)
            return
    if suffix == ".npy" and (mapped := _map_array(path, large)) is not None:
        yield ArrayRows(mapped, path)
        return
    with _pillow_rows(path, large) as rows:
        yield rows or ArrayRows(read_image(path), path)


@contextmanager
def _pillow_rows(path: Path, large: int) -> Iterator[PillowRows | None]:
    """A large image in a format that Pillow decodes; else None."""
    with ExitStack() as stack:
        rows = None
        if path.suffix.lower() not in (*TIFF_SUFFIXES, ".npy") and pixel_count(path) >= large:
            try:
                image = stack.enter_context(opened_upright(path))
                rows = None if image is None else PillowRows(image, path)
            except Exception:  # `read_image` says what is wrong
                rows = None
        yield rows


def _tiff_rows(page: tifffile.TiffPage, path: Path) -> TiffRows:
    try:
        height = page.tilelength if page.is_tiled else page.rowsperstrip
        if not page.is_memmappable:
            band = (min(height, page.imagelength), page.imagewidth, page.samplesperpixel)
            check_size(band, page.dtype, path)
            across = math.ceil(page.imagewidth / page.tilewidth) if page.is_tiled else 1
            planes = page.samplesperpixel if page.planarconfig == 2 else 1
            parts = math.ceil(page.imagelength / height) * across * planes
            if min(len(page.dataoffsets), len(page.databytecounts)) < parts:
                raise ValueError(f"it has fewer than the {parts} parts of its size")
        return TiffRows(page, path)
    except DataError:
        raise
    except Exception as error:  # damaged headers, or uncompressed pixels that are not all there
        raise _unreadable(page, error, path) from None


def _open_tiff(path: Path, large: int) -> tuple[tifffile.TiffFile | None, Any]:
    """The open file and its first image, if that is a large one; (None, None) otherwise."""
    try:
        tiff = tifffile.TiffFile(path)
    except Exception:  # `read_image` tries other decoders, or says what is wrong
        return None, None
    try:
        page = tiff.pages[0]
        size = page.imagelength * page.imagewidth
        # What fits into memory is read by other decoders.
        decodable = page.compression in tifffile.TIFF.DECOMPRESSORS or page.nbytes > largest_image()
        is_large = page.dtype is not None and size >= large
        if is_large and decodable and is_one_plain_image(tiff, path):
            return tiff, page
    except Exception:  # the same
        tiff.close()
        return None, None
    tiff.close()
    return None, None


def _map_array(path: Path, large: int) -> NDArray | None:
    try:
        mapped = map_npy(path)
    except Exception:  # `read_image` says what is wrong
        return None
    if mapped.ndim == 2:
        mapped = mapped[..., None]
    if mapped.ndim != 3 or mapped.shape[0] * mapped.shape[1] < large:
        return None
    return mapped


@contextmanager
def label_store(
    height: int, width: int, folder: Path, large: int = LARGE_PIXELS
) -> Iterator[NDArray[np.uint8]]:
    """An empty label map [H, W]; a large one lies in a temporary file in `folder`.

    Raises
    ------
    ResourceError : the file would not fit on the disk.
    """
    if height * width < large:
        yield np.zeros((height, width), np.uint8)
        return
    # Asked first, as a mapped file that meets a full disk ends the process without a word.
    if shutil.disk_usage(folder).free < height * width:
        raise ResourceError(
            f"The disk has no room for a label map of {width} x {height} pixels.",
            f"Free {height * width / 2**20:.0f} MiB, or choose another folder with --output.",
            str(folder),
        )
    with tempfile.TemporaryFile(dir=folder, prefix=".labels") as file:
        yield np.memmap(file, np.uint8, "w+", shape=(height, width))


def write_label_image(
    path: Path, labels: NDArray[np.uint8], palette: list[int], large: int = LARGE_PIXELS
) -> Path:
    """Write class ids [H, W] as an indexed image, whole or not at all.

    Parameters
    ----------
    path : without suffix.
    palette : flat RGB list, as of `write_png`.

    Returns
    -------
    The file: `.png`; `.tif` if the image is large, in tiles compressed by deflate.
    """
    if labels.size < large:
        target = path.with_name(f"{path.name}.png")
        write_png(target, labels, palette)
        return target
    target = path.with_name(f"{path.name}.tif")
    colors = np.zeros((256, 3), np.uint16)
    colors[: len(palette) // 3] = np.array(palette, np.uint16).reshape(-1, 3) * 257
    with whole(target) as part:
        tifffile.imwrite(
            part,
            labels,
            photometric="palette",
            colormap=colors.T,
            tile=(_TILE, _TILE),
            compression="zlib",
            metadata=None,
        )
    return target
