"""A random label picture survives every pair of writer and reader that is claimed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.files.images import read_mask, write_png
from flexseg.files.large_images import write_label_image

CLASSES = 4
COLORS = ((0, 0, 0), (255, 0, 0), (0, 128, 255), (128, 255, 0))
GRAY = (0, 85, 170, 255)
INKS = ((0, 0, 0, 255), (0, 255, 255, 0), (255, 127, 0, 0), (127, 0, 255, 0))
PALETTE = [channel for color in COLORS for channel in color]
_TURN_BACK = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.swapaxes(a[::-1, ::-1], 0, 1),
    8: lambda a: np.rot90(a, -1),
}

Ids = NDArray[np.uint8]


def _pillow(suffix: str, mode: str, **options: Any) -> Callable[[Path, Ids, int], Path]:
    options = {"compression": "tiff_lzw"} | options if suffix == ".tif" else options

    def write(stem: Path, ids: Ids, orientation: int) -> Path:
        stored = np.ascontiguousarray(_TURN_BACK[orientation](ids))
        if mode == "P":
            image = Image.fromarray(stored)
            image.putpalette(PALETTE)
        elif mode == "L":
            image = Image.fromarray(np.array(GRAY, np.uint8)[stored])
        elif mode == "LA":
            alpha = np.where(stored > 0, 255, 0).astype(np.uint8)
            image = Image.fromarray(np.dstack([np.array(GRAY, np.uint8)[stored], alpha]), "LA")
        elif mode == "1":
            image = Image.fromarray(stored > 0)
        elif mode == "CMYK":
            image = Image.fromarray(np.array(INKS, np.uint8)[stored], "CMYK")
        elif mode == "RGBA":
            alpha = np.where(stored > 0, 255, 0).astype(np.uint8)
            image = Image.fromarray(np.dstack([np.array(COLORS, np.uint8)[stored], alpha]))
        else:
            image = Image.fromarray(np.array(COLORS, np.uint8)[stored])
        path = stem.with_suffix(suffix)
        if suffix == ".tif":
            image.save(path, tiffinfo={274: orientation}, **options)
        elif suffix in (".png", ".apng", ".webp"):
            exif = Image.Exif()
            exif[274] = orientation
            kind = "PNG" if suffix == ".apng" else None
            image.save(path, kind, exif=exif, **options)
        else:
            image.save(path, **options)
        return path

    return write


def _tifffile(pixels: Callable[[Ids], NDArray[Any]], **options: Any) -> Callable[..., Path]:
    def write(stem: Path, ids: Ids, orientation: int) -> Path:
        stored = np.ascontiguousarray(_TURN_BACK[orientation](ids))
        path = stem.with_suffix(".tif")
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, pixels(stored), metadata=None, extratags=tags, **options)
        return path

    return write


def _numpy(pixels: Callable[[Ids], NDArray[Any]], suffix: str) -> Callable[..., Path]:
    def write(stem: Path, ids: Ids, _: int) -> Path:
        path = stem.with_suffix(suffix)
        if suffix == ".npz":
            np.savez_compressed(path, mask=pixels(ids))
        else:
            np.save(path, pixels(ids))
        return path

    return write


def _deep_png(stem: Path, ids: Ids, _: int) -> Path:
    path = stem.with_suffix(".png")
    colors = np.array(COLORS, np.uint16)[ids][..., ::-1] * 257
    path.write_bytes(cv2.imencode(".png", colors)[1].tobytes())
    return path


def _thin_png(stem: Path, ids: Ids, _: int) -> Path:
    """Grey of 2 bits, which no library here writes."""

    def part(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    height, width = ids.shape
    padded = np.pad(ids, ((0, 0), (0, -width % 4))).reshape(height, -1, 4)
    rows = (padded << np.array([6, 4, 2, 0], np.uint8)).sum(-1, dtype=np.uint8)
    filtered = np.pad(rows, ((0, 0), (1, 0))).tobytes()
    path = stem.with_suffix(".png")
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", struct.pack(">IIBBBBB", width, height, 2, 0, 0, 0, 0))
        + part(b"IDAT", zlib.compress(filtered))
        + part(b"IEND", b"")
    )
    return path


def _dicom(kind: str, syntax: str = "1.2.840.10008.1.2.1") -> Callable[..., Path]:
    def write(stem: Path, ids: Ids, _: int) -> Path:
        pydicom = pytest.importorskip("pydicom")
        tags = pydicom.Dataset()
        tags.file_meta = pydicom.dataset.FileMetaDataset()
        tags.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        tags.SOPClassUID, tags.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
        tags.SeriesInstanceUID = tags.StudyInstanceUID = "1.2.3"
        tags.Modality, tags.PhotometricInterpretation, tags.SamplesPerPixel = "OT", kind, 1
        tags.Rows, tags.Columns = ids.shape
        tags.BitsAllocated = tags.BitsStored = 8
        tags.HighBit, tags.PixelRepresentation = 7, 0
        pixels = 255 - ids if kind == "MONOCHROME1" else ids
        if kind == "RGB":
            pixels, tags.SamplesPerPixel, tags.PlanarConfiguration = _colors(ids), 3, 0
        if kind == "PALETTE COLOR":
            for i, name in enumerate(("Red", "Green", "Blue")):
                setattr(tags, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
                setattr(tags, f"{name}PaletteColorLookupTableData", TABLE[i].tobytes())
        tags.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
        tags["PixelData"].VR = "OB"
        if syntax != tags.file_meta.TransferSyntaxUID:
            tags.compress(syntax)
        tags.save_as(stem.with_suffix(".dcm"), enforce_file_format=True)
        return stem.with_suffix(".dcm")

    return write


def _own_png(stem: Path, ids: Ids, _: int) -> Path:
    write_png(stem.with_suffix(".png"), ids, PALETTE)
    return stem.with_suffix(".png")


def _colors(ids: Ids) -> NDArray[np.uint8]:
    return np.array(COLORS, np.uint8)[ids]


TABLE = np.zeros((3, 256), np.uint16)
TABLE[:, :CLASSES] = np.array(COLORS, np.uint16).T * 257
# What reads the values of grey masks, of indices, and of colours.
BY_GRAY = [LabelClass(i, str(i), (COLORS[i],), (GRAY[i],)) for i in range(1, CLASSES)]
BY_ID = [LabelClass(i, str(i), (COLORS[i],), (i,)) for i in range(1, CLASSES)]
BY_COLOR = [LabelClass(i, str(i), (COLORS[i],)) for i in range(1, CLASSES)]
BY_INK = [
    LabelClass(i, str(i), (tuple((255 - c) * (255 - k) // 255 for c in ink),))
    for i, (*ink, k) in enumerate(INKS)
    if i
]
HOT = np.eye(CLASSES, dtype=np.uint8)
WRITERS: dict[str, tuple[Callable[..., Path], list[LabelClass]]] = {
    "png palette": (_pillow(".png", "P"), BY_ID),
    "png grey": (_pillow(".png", "L"), BY_GRAY),
    "png colours": (_pillow(".png", "RGB"), BY_COLOR),
    "png transparent": (_pillow(".png", "RGBA"), BY_COLOR),
    "png of 16 bits": (_deep_png, BY_COLOR),
    "png grey of 2 bits": (_thin_png, BY_GRAY),
    "png palette of 2 bits": (_pillow(".png", "P", bits=2), BY_ID),
    "png grey transparent": (_pillow(".png", "LA"), BY_GRAY),
    "png interlaced or not, compressed or not": (_pillow(".png", "P", compress_level=0), BY_ID),
    "apng": (_pillow(".apng", "P"), BY_ID),
    "gif": (_pillow(".gif", "P"), BY_ID),
    "webp colours": (_pillow(".webp", "RGB", lossless=True, exact=True), BY_COLOR),
    "webp transparent": (_pillow(".webp", "RGBA", lossless=True, exact=True), BY_COLOR),
    "tiff raw": (_pillow(".tif", "L", compression="raw"), BY_GRAY),
    "tiff packbits": (_pillow(".tif", "P", compression="packbits"), BY_ID),
    "tiff deflate": (_pillow(".tif", "RGB", compression="tiff_adobe_deflate"), BY_COLOR),
    "tiff lzma": (_pillow(".tif", "L", compression="lzma"), BY_GRAY),
    "tiff zstd": (_pillow(".tif", "L", compression="zstd"), BY_GRAY),
    "tiff grey transparent": (_pillow(".tif", "LA"), BY_GRAY),
    "tiff inks": (_pillow(".tif", "CMYK"), BY_INK),
    "tiff signed": (_tifffile(lambda a: a.astype(np.int16)), BY_ID),
    "tiff of 32 bits": (_tifffile(lambda a: a.astype(np.uint32)), BY_ID),
    "tiff doubles": (_tifffile(lambda a: a.astype(np.float64)), BY_ID),
    "tiff big-endian": (_tifffile(lambda a: a.astype(np.uint16), byteorder=">"), BY_ID),
    "tiff predictor": (_tifffile(lambda a: a, compression="zlib", predictor=True), BY_ID),
    "tiff strips": (_tifffile(lambda a: a, rowsperstrip=3), BY_ID),
    "tiff big": (_tifffile(lambda a: a, bigtiff=True), BY_ID),
    "tiff one-hot": (
        _tifffile(lambda a: HOT[a], photometric="minisblack", planarconfig="contig"),
        BY_ID,
    ),
    "own png": (_own_png, BY_ID),
    "tiff lzw palette": (_pillow(".tif", "P"), BY_ID),
    "tiff lzw grey": (_pillow(".tif", "L"), BY_GRAY),
    "tiff lzw colours": (_pillow(".tif", "RGB"), BY_COLOR),
    "tiff lzw transparent": (_pillow(".tif", "RGBA"), BY_COLOR),
    "tiff ids": (_tifffile(lambda a: a), BY_ID),
    "tiff ids of 16 bits": (_tifffile(lambda a: a.astype(np.uint16), compression="zlib"), BY_ID),
    "tiff floats": (_tifffile(lambda a: a.astype(np.float32)), BY_ID),
    "tiff white is 0": (_tifffile(lambda a: 255 - a, photometric="miniswhite"), BY_ID),
    "tiff palette": (_tifffile(lambda a: a, photometric="palette", colormap=TABLE), BY_ID),
    "tiff planes": (
        _tifffile(
            lambda a: np.ascontiguousarray(np.moveaxis(_colors(a), -1, 0)),
            photometric="rgb",
            planarconfig="separate",
        ),
        BY_COLOR,
    ),
    "tiff tiles": (_tifffile(_colors, photometric="rgb", tile=(16, 16)), BY_COLOR),
    "npy": (_numpy(lambda a: a, ".npy"), BY_ID),
    "npy big-endian": (_numpy(lambda a: a.astype(">i4"), ".npy"), BY_ID),
    "npy fortran": (_numpy(np.asfortranarray, ".npy"), BY_ID),
    "npy scores": (_numpy(lambda a: (0.1 + 0.6 * HOT[a]).astype(np.float32), ".npy"), BY_ID),
    "npy one-hot": (_numpy(lambda a: HOT[a], ".npy"), BY_ID),
    "npz": (_numpy(lambda a: a, ".npz"), BY_ID),
    "npz one-hot": (_numpy(lambda a: np.moveaxis(HOT[a], -1, 0), ".npz"), BY_ID),
    "dicom": (_dicom("MONOCHROME2"), BY_ID),
    "dicom white is 0": (_dicom("MONOCHROME1"), BY_ID),
    "dicom colours": (_dicom("RGB"), BY_COLOR),
    "dicom palette": (_dicom("PALETTE COLOR"), BY_COLOR),
    "dicom rle": (_dicom("MONOCHROME2", "1.2.840.10008.1.2.5"), BY_ID),
    "bmp palette": (_pillow(".bmp", "P"), BY_ID),
    "bmp grey": (_pillow(".bmp", "L"), BY_GRAY),
    "bmp colours": (_pillow(".bmp", "RGB"), BY_COLOR),
}
_UPRIGHT = (_deep_png, _thin_png)
# Of two classes only.
BINARY: dict[str, Callable[..., Path]] = {
    "png": _pillow(".png", "1"),
    "gif": _pillow(".gif", "1"),
    "bmp": _pillow(".bmp", "1"),
    "tiff": _pillow(".tif", "1"),
    "tiff as fax machines": _pillow(".tif", "1", compression="group4"),
    "npy": _numpy(lambda a: a > 0, ".npy"),
}
IDS = arrays(
    np.uint8,
    st.tuples(st.integers(5, 20), st.integers(5, 20)),
    elements=st.integers(0, CLASSES - 1),
)


@pytest.mark.parametrize("name", WRITERS)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ids=IDS, orientation=st.integers(1, 8))
def test_masks_are_read_as_they_were_written(
    tmp_path: Path, name: str, ids: Ids, orientation: int
) -> None:
    write, classes = WRITERS[name]
    turns = name.startswith(("png", "apng", "webp", "tiff")) and write not in _UPRIGHT
    path = write(tmp_path / "mask", ids, orientation if turns else 1)
    encoded = LabelMap.of_foreground(classes).encode(read_mask(path))
    assert np.array_equal(encoded.labels, ids)
    assert not encoded.unknown


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ids=IDS, large=st.sampled_from([1, 10**6]))
def test_own_label_images(tmp_path: Path, ids: Ids, large: int) -> None:
    path = write_label_image(tmp_path / "labels", ids, PALETTE, large)
    assert np.array_equal(read_mask(path).pixels, ids)


@pytest.mark.parametrize("name", BINARY)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ids=IDS, orientation=st.integers(1, 8))
def test_masks_of_one_bit(tmp_path: Path, name: str, ids: Ids, orientation: int) -> None:
    turns = name.startswith(("png", "tiff"))
    path = BINARY[name](tmp_path / "mask", ids, orientation if turns else 1)
    assert np.array_equal(read_mask(path).pixels > 0, ids > 0)
