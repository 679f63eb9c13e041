"""What masks hold whose object is transparency, or whose channels are classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import DataError
from flexseg.files.images import read_mask

SHAPE = (14, 18)
MARKED = np.zeros(SHAPE, bool)
MARKED[2:9, 3:8] = True
IDS = MARKED.astype(np.uint8)
IDS[10:13, 4:15] = 2
NONE = np.zeros(SHAPE, bool)


def _rgba(path: Path, color: tuple[int, int, int], opaque: NDArray[np.bool_]) -> None:
    pixels = np.zeros((*SHAPE, 4), np.uint8)
    pixels[..., :3] = color
    pixels[..., 3] = opaque * 255
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (255, 0, 0)])
def test_the_object_is_what_is_opaque(
    tmp_path: Path, color: tuple[int, int, int], suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    _rgba(path, color, MARKED)
    mask = read_mask(path)
    shown = mask.pixels if mask.pixels.ndim == 2 else mask.pixels.max(axis=-1)
    assert np.array_equal(shown, MARKED * np.uint8(255))
    assert "transparency" in mask.mode
    _rgba(path, color, NONE)
    assert not read_mask(path).pixels.any()
    _rgba(path, color, ~NONE)
    assert (read_mask(path).pixels.reshape(-1, 3)[0] == color).all()


def test_gray_with_transparency(tmp_path: Path) -> None:
    for gray in (0, 255):
        layers = [Image.new("L", SHAPE[::-1], gray), Image.fromarray(MARKED * np.uint8(255))]
        Image.merge("LA", layers).save(tmp_path / "a.png")
        assert np.array_equal(read_mask(tmp_path / "a.png").pixels, MARKED * np.uint8(255))


def test_transparency_that_says_nothing(tmp_path: Path) -> None:
    """The same everywhere, or only of what is black."""
    colors = np.zeros((*SHAPE, 3), np.uint8)
    colors[MARKED] = (0, 200, 0)
    for alpha in (0, 100, 255, MARKED * 255):
        pixels = np.dstack([colors, np.broadcast_to(np.uint8(alpha), SHAPE)])
        Image.fromarray(pixels).save(tmp_path / "a.png")
        assert np.array_equal(read_mask(tmp_path / "a.png").pixels, colors)


def test_transparent_ground_of_a_palette(tmp_path: Path) -> None:
    """Index 0 is the object, a transparent entry the ground; black as index 0 stays background."""
    for first, hidden in (((255, 0, 0), 1), ((0, 0, 0), 0)):
        object_index = 1 - hidden
        image = Image.fromarray(np.where(MARKED, object_index, hidden).astype(np.uint8))
        image.putpalette([*first, 255, 0, 0] if hidden == 0 else [*first, 9, 9, 9])
        image.save(tmp_path / "a.png", transparency=hidden)
        mask = read_mask(tmp_path / "a.png")
        marked = mask.pixels if mask.pixels.ndim == 2 else mask.pixels.any(axis=-1)
        assert np.array_equal(marked != 0, MARKED)


def test_one_transparent_color(tmp_path: Path) -> None:
    ground = np.where(MARKED, 0, 255).astype(np.uint8)
    Image.fromarray(ground).save(tmp_path / "a.png", transparency=255)
    assert np.array_equal(read_mask(tmp_path / "a.png").pixels, MARKED * np.uint8(255))


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
@pytest.mark.parametrize("kind", ["f4", "u1", "?", "i8"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("archive", [False, True])
def test_one_channel_per_class(
    tmp_path: Path, classes: int, kind: str, first: bool, archive: bool
) -> None:
    ids = np.minimum(IDS, classes - 1)
    scores = np.eye(classes, dtype=kind)[ids]
    array = np.moveaxis(scores, -1, 0) if first else scores
    path = tmp_path / ("a.npz" if archive else "a.npy")
    if archive:
        np.savez(path, image=np.zeros(SHAPE), mask=array)
    else:
        np.save(path, array)
    mask = read_mask(path)
    assert mask.one_hot
    foreground = [LabelClass(i, str(i), ((i, i, i),)) for i in range(1, classes)]
    labels = LabelMap.of_foreground(foreground)
    assert np.array_equal(labels.encode(mask).labels, ids)


def test_scores_and_one_hot_of_255(tmp_path: Path) -> None:
    scores = np.eye(3)[IDS]
    for array in ((scores * 255).astype(np.uint8), (scores * 0.7 + 0.1).astype(np.float32)):
        np.save(tmp_path / "a.npy", array)
        mask = read_mask(tmp_path / "a.npy")
        assert mask.one_hot
        assert np.array_equal(mask.pixels.argmax(axis=-1), IDS)


def test_channels_without_background(tmp_path: Path) -> None:
    for classes in (np.eye(3)[IDS][..., 1:], np.zeros((*SHAPE, 2))):
        np.save(tmp_path / "a.npy", classes)
        mask = read_mask(tmp_path / "a.npy")
        assert mask.one_hot
        assert mask.pixels.shape == (*SHAPE, 3)
        assert np.array_equal(mask.pixels.argmax(axis=-1), IDS * bool(classes.any()))


def test_arrays_of_colors_and_of_equal_channels(tmp_path: Path) -> None:
    colors = np.zeros((*SHAPE, 3), np.uint8)
    colors[MARKED] = (0, 0, 255)
    np.save(tmp_path / "a.npy", colors)
    assert np.array_equal(read_mask(tmp_path / "a.npy").pixels, colors)
    np.save(tmp_path / "a.npy", np.stack([IDS] * 3, axis=-1))
    assert np.array_equal(read_mask(tmp_path / "a.npy").pixels, IDS)
    for axis in (0, 2):
        np.save(tmp_path / "a.npy", np.expand_dims(IDS, axis))
        assert np.array_equal(read_mask(tmp_path / "a.npy").pixels, IDS)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.tif"])
def test_channels_that_cannot_be_told_are_refused(tmp_path: Path, name: str) -> None:
    overlapping: NDArray[Any] = np.stack([MARKED, MARKED, IDS == 2, NONE], -1).astype(np.uint8)
    path = tmp_path / name
    if name.endswith("tif"):
        tifffile.imwrite(path, overlapping, photometric="minisblack", planarconfig="contig")
    elif name.endswith("npz"):
        np.savez(path, mask=overlapping)
    else:
        np.save(path, overlapping)
    with pytest.raises(DataError, match="do not tell what the channels are") as caught:
        read_mask(path)
    assert caught.value.where == str(path)


def test_the_array_of_an_archive_is_found_by_its_name(tmp_path: Path) -> None:
    image = np.full(SHAPE, 200, np.uint8)
    np.savez(tmp_path / "a.npz", image=image, label=IDS)
    assert np.array_equal(read_mask(tmp_path / "a.npz").pixels, IDS)
    np.savez(tmp_path / "b.npz", image=image, other=IDS)
    with pytest.raises(DataError, match="none is named 'mask': image, other"):
        read_mask(tmp_path / "b.npz")


def test_channels_of_a_tiff_are_classes(tmp_path: Path) -> None:
    scores = np.eye(5, dtype=np.uint8)[IDS]
    tifffile.imwrite(tmp_path / "a.tif", scores, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(read_mask(tmp_path / "a.tif").pixels.argmax(axis=-1), IDS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    mask = np.zeros((5, 7), np.float32)
    mask[2, 3] = value
    tifffile.imwrite(tmp_path / "a.tif", mask)
    with pytest.raises(DataError, match="not finite numbers"):
        read_mask(tmp_path / "a.tif")
