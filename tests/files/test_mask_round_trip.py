"""A random label picture survives every pair of writer and reader that is claimed."""

from __future__ import annotations

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


def _pillow(suffix: str, mode: str) -> Callable[[Path, Ids, int], Path]:
    def write(stem: Path, ids: Ids, orientation: int) -> Path:
        stored = np.ascontiguousarray(_TURN_BACK[orientation](ids))
        if mode == "P":
            image = Image.fromarray(stored)
            image.putpalette(PALETTE)
        elif mode == "L":
            image = Image.fromarray(np.array(GRAY, np.uint8)[stored])
        elif mode == "RGBA":
            alpha = np.where(stored > 0, 255, 0).astype(np.uint8)
            image = Image.fromarray(np.dstack([np.array(COLORS, np.uint8)[stored], alpha]))
        else:
            image = Image.fromarray(np.array(COLORS, np.uint8)[stored])
        path = stem.with_suffix(suffix)
        if suffix == ".tif":
            image.save(path, compression="tiff_lzw", tiffinfo={274: orientation})
        elif suffix == ".png":
            exif = Image.Exif()
            exif[274] = orientation
            image.save(path, exif=exif)
        else:
            image.save(path)
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
HOT = np.eye(CLASSES, dtype=np.uint8)
WRITERS: dict[str, tuple[Callable[..., Path], list[LabelClass]]] = {
    "png palette": (_pillow(".png", "P"), BY_ID),
    "png grey": (_pillow(".png", "L"), BY_GRAY),
    "png colours": (_pillow(".png", "RGB"), BY_COLOR),
    "png transparent": (_pillow(".png", "RGBA"), BY_COLOR),
    "png of 16 bits": (_deep_png, BY_COLOR),
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
    "npy one-hot": (_numpy(lambda a: HOT[a], ".npy"), BY_ID),
    "npz": (_numpy(lambda a: a, ".npz"), BY_ID),
    "npz one-hot": (_numpy(lambda a: np.moveaxis(HOT[a], -1, 0), ".npz"), BY_ID),
    "bmp palette": (_pillow(".bmp", "P"), BY_ID),
    "bmp grey": (_pillow(".bmp", "L"), BY_GRAY),
    "bmp colours": (_pillow(".bmp", "RGB"), BY_COLOR),
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
    turns = name.startswith(("png", "tiff")) and name != "png of 16 bits"
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
