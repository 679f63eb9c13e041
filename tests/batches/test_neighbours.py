"""Neighbouring slices by file name: who is whose neighbour, and what is refused."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.batches.neighbours import (
    neighbour_files,
    read_with_neighbours,
    warn_of_lone,
)
from flexseg.errors import DataError
from flexseg.files.images import read_image, write_png


def grey(value: int, size: tuple[int, int] = (4, 6)) -> NDArray[np.uint8]:
    return np.full(size, value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Volumes `a_1` (slices 2 to 6), `a_1_axial` (slice 0), `b` (0, 1, 3), and `photo.png`."""
    images = tmp_path / "dataset" / "images"
    images.mkdir(parents=True)
    for i in range(2, 7):
        write_png(images / f"a_1_{i:04d}.png", grey(i))
    write_png(images / "a_1_axial_0000.png", grey(99))
    for i in (0, 1, 3):
        write_png(images / f"b_{i:04d}.png", grey(100 + i))
    write_png(images / "photo.png", grey(50))
    return images


def seen(folder: Path, name: str, n: int) -> list[int]:
    return read_with_neighbours(folder / name, n)[0, 0].tolist()


@pytest.mark.parametrize(
    ("name", "n", "values"),
    [
        ("a_1_0004.png", 1, [3, 4, 5]),
        ("a_1_0004.png", 2, [2, 3, 4, 5, 6]),
        ("a_1_0002.png", 2, [2, 2, 2, 3, 4]),
        ("a_1_0006.png", 1, [5, 6, 6]),
        ("a_1_0006.png", 8, [2] * 5 + [3, 4, 5, 6] + [6] * 8),
        ("a_1_axial_0000.png", 1, [99, 99, 99]),
        ("b_0000.png", 1, [100, 100, 101]),
        ("photo.png", 1, [50, 50, 50]),
        ("a_1_0004.png", 0, [4]),
    ],
)
def test_slices_between_their_neighbours(
    folder: Path, name: str, n: int, values: list[int]
) -> None:
    assert seen(folder, name, n) == values


def test_without_neighbours_an_image_is_what_it_is(folder: Path) -> None:
    write_png(folder / "c_0000.png", np.dstack([grey(1), grey(2), grey(3)]))
    pixels = read_with_neighbours(folder / "c_0000.png", 0)
    np.testing.assert_array_equal(pixels, read_image(folder / "c_0000.png"))


def test_grey_slices_in_three_channels_count_as_grey(folder: Path) -> None:
    write_png(folder / "b_0002.png", np.dstack([grey(102)] * 3))
    assert seen(folder, "b_0001.png", 1) == [100, 101, 102]
    write_png(folder / "b_0002.png", np.dstack([grey(102), grey(102), grey(1)]))
    with pytest.raises(DataError, match="must be grey") as error:
        seen(folder, "b_0001.png", 1)
    assert str(error.value.where).endswith("b_0002.png")


def test_a_gap_is_refused_at_both_sides_of_it(folder: Path) -> None:
    for name in ("b_0001.png", "b_0003.png"):
        with pytest.raises(DataError, match="Slice 2 of the volume is missing") as error:
            neighbour_files(folder / name, 1)
        assert "--empty-every 1" in error.value.fix
    with pytest.raises(DataError, match="Slice 2"):
        neighbour_files(folder / "b_0000.png", 2)


def test_new_files_are_seen(folder: Path) -> None:
    with pytest.raises(DataError):
        neighbour_files(folder / "b_0001.png", 1)
    write_png(folder / "b_0002.png", grey(102))
    os.utime(folder, ns=(1, 2**60))  # clocks of file systems are coarse
    assert seen(folder, "b_0001.png", 1) == [100, 101, 102]


def test_slices_of_other_sizes_are_of_other_volumes(folder: Path) -> None:
    write_png(folder / "b_0002.png", grey(1, (4, 7)))
    with pytest.raises(
        DataError, match=r"6 x 4 of type uint8, but its neighbour b_0002\.png is 7 x 4"
    ):
        read_with_neighbours(folder / "b_0001.png", 1)


def test_one_number_in_two_spellings_is_refused(folder: Path) -> None:
    write_png(folder / "b_2.png", grey(1))
    write_png(folder / "b_02.png", grey(1))
    with pytest.raises(DataError, match="have the same slice number"):
        neighbour_files(folder / "b_0001.png", 1)


def test_lone_images_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [folder / name for name in ("photo.png", "a_1_axial_0000.png", "b_0000.png")]
    with caplog.at_level(logging.WARNING):
        warn_of_lone(paths, 0)
        warn_of_lone(paths[2:], 1)
        assert caplog.messages == []
        warn_of_lone(paths, 1)
    assert "2 of 3 images have no neighbouring slices" in caplog.text
    assert "photo.png, a_1_axial_0000.png" in caplog.text


def test_a_dataset_that_slices_were_left_out_of_is_refused(folder: Path) -> None:
    description = folder.parent / "dataset.json"
    for content in ('{"parameters": {"slices_left_out": 0}}', '{"parameters": {}}', "{}", "["):
        description.write_text(content)
        neighbour_files(folder / "a_1_0004.png", 1)
    description.write_text(json.dumps({"parameters": {"slices_left_out": 4}}))
    os.utime(description, ns=(1, 2**60))
    with pytest.raises(DataError, match="4 slices without labels were left out"):
        neighbour_files(folder / "a_1_0004.png", 1)
