"""What masks keep when the network sees them smaller."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.reading import Dataset
from flexseg.planning.sizes.resolution import Resolution


def disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return (y**2 + x**2 < radius**2).astype(np.uint8)


def test_squares_on_the_grid_of_the_network_are_kept_whole() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 1
    assert Resolution((mask,), 2).ceiling(64, 64) == 1.0
    # Shrunk to a half and enlarged, a square loses its corners and nothing else.
    assert Resolution((mask,), 2).ceiling(32, 32) == pytest.approx(1.0, abs=0.01)


def test_a_line_of_one_pixel_is_lost_and_a_disc_is_not() -> None:
    line = np.zeros((128, 128), np.uint8)
    line[:, 60] = 1
    assert Resolution((line,), 2).ceiling(32, 32) < 0.5
    assert Resolution((disc(128, 40),), 2).ceiling(32, 32) > 0.96


def test_classes_count_alike_and_cases_that_show_none_do_not() -> None:
    both = disc(128, 50)
    both[:, 64] = 2
    alone = Resolution((disc(128, 50),), 2).ceiling(32, 32)
    two = Resolution((both, np.zeros_like(both)), 3).ceiling(32, 32)
    assert 0.4 < two < (alone + 0.5) / 2


def test_ignored_pixels_decide_nothing() -> None:
    plain = disc(96, 30)
    rough = plain.copy()
    rough[:, 40:60][::2] = IGNORED
    assert Resolution((rough,), 2).ceiling(96, 96) == 1.0


@given(st.integers(32, 90), st.integers(32, 90), st.integers(8, 120))
def test_a_ceiling_is_a_dice_and_the_own_size_keeps_all(width: int, height: int, side: int) -> None:
    mask = cv2.resize(disc(40, 14), (width, height), interpolation=cv2.INTER_NEAREST)
    found = Resolution((np.asarray(mask, np.uint8),), 2)
    assert 0 <= found.ceiling(side, side) <= 1
    assert found.ceiling(width, height) == 1.0


def write(folder: Path, times: int, *, sharp: bool = False) -> tuple[Case, ...]:
    """Twenty images of blobs, enlarged so many times, the masks as nearest."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(20):
        field = cv2.GaussianBlur(rng.random((60, 60)).astype(np.float32), (0, 0), 4)
        low, high = float(field.min()), float(field.max())
        image = (255 * (field - low) / (high - low)).astype(np.uint8)
        mask = (255 * (image > 150)).astype(np.uint8)
        size = (60 * times, 60 * times)
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        if sharp:
            image = np.where(rng.random(image.shape) < 0.1, 255 - image, image)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    dataset = Dataset.open(folder)
    return dataset.table.cases


@pytest.mark.parametrize("times", [1, 2, 4, 8])
def test_a_set_that_was_enlarged_is_told(tmp_path: Path, times: int) -> None:
    cases = write(tmp_path / "set", times)
    found = Resolution.of(cases, Dataset.open(tmp_path / "set").labels)
    assert found.enlarged == times
    assert {mask.shape for mask in found.masks} == {(60, 60)}


def test_fine_images_with_coarse_masks_were_not_enlarged(tmp_path: Path) -> None:
    cases = write(tmp_path / "set", 4, sharp=True)
    assert Resolution.of(cases, Dataset.open(tmp_path / "set").labels).enlarged == 1


def test_few_edges_say_nothing(tmp_path: Path) -> None:
    cases = write(tmp_path / "set", 1)[:5]
    for case in cases:
        mask = np.zeros((60, 60), np.uint8)
        mask[20:40, 10:50] = 255
        Image.fromarray(mask).save(case.mask)
    assert Resolution.of(cases, Dataset.open(tmp_path / "set").labels).enlarged == 1


def test_patches_keep_what_their_scale_keeps() -> None:
    line = np.zeros((400, 400), np.uint8)
    line[:, ::16] = 1
    found = Resolution((line,), 2, parts=(line,))
    assert found.ceiling_of_patches(1.0) == 1.0
    assert found.ceiling_of_patches(0.25) < 0.7
    assert Resolution((), 2).ceiling_of_patches(0.25) == 1.0


def test_large_masks_lose_what_their_smaller_copies_lost(tmp_path: Path) -> None:
    """Lines of one pixel in 2048: half of them are gone in a copy of 1024, which looks whole."""
    mask = np.zeros((2048, 2048), np.uint8)
    mask[:, 5::32] = 1
    mask[:, 22::32] = 1
    for kind, pixels in (("images", mask), ("masks", mask * 255)):
        (tmp_path / kind).mkdir()
        for number in range(2):
            Image.fromarray(pixels).save(tmp_path / kind / f"{number}.png")
    data = Dataset.open(tmp_path, None)
    found = Resolution.of(data.cases, data.labels)  # type: ignore[union-attr]
    assert [part.shape for part in found.parts] == [(512, 512)] * 2
    assert {len(m) for m in found.masks} == {1024}
    assert found.ceiling(1024, 1024) < 0.75
    assert found.ceiling_of_patches(1.0) == 1.0
