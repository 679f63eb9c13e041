"""Copies are found however they lie, different images of one kind are not taken for copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.dataset.quality.duplicates import (
    ImageHash,
    NearDuplicate,
    find_near_duplicates,
    image_hash,
)
from flexseg.files.entries import list_files
from flexseg.files.images import read_image

Image = NDArray[np.uint8]
SIZE = 200


def cells(seed: int, size: int = SIZE) -> Image:
    """A field of some 40 textured blobs on a grey ground: one of many of the same kind."""
    rng = np.random.default_rng(seed)
    field = np.full((size, size), 60, np.float32)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (size, size)).astype(np.float32), (0, 0), 2)
    for _ in range(40):
        center = rng.integers(0, size, 2)
        axes, angle = rng.integers(size // 30, size // 12, 2), int(rng.integers(180))
        shape = np.zeros((size, size), np.float32)
        cv2.ellipse(shape, center.tolist(), axes.tolist(), angle, 0, 360, 1.0, -1)
        field = np.where(shape > 0, rng.uniform(120, 200) + texture, field)
    field += rng.normal(0, 3, (size, size))
    return np.repeat(np.clip(field, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def affine(image: Image, matrix: NDArray) -> Image:
    size = image.shape[1], image.shape[0]
    return cv2.warpAffine(image, matrix, size, borderValue=image[2, 2].tolist())


def rotated(image: Image, angle: float, scale: float = 1.0) -> Image:
    h, w = image.shape[:2]
    return affine(image, cv2.getRotationMatrix2D((w / 2, h / 2), angle, scale))


def sheared(image: Image) -> Image:
    return affine(image, np.array([[1, 0, 0], [0.1, 1, -0.05 * image.shape[1]]]))


def displaced(image: Image, sigma: float, largest: float) -> Image:
    rng = np.random.default_rng(0)
    h, w = image.shape[:2]
    fields = [cv2.GaussianBlur(rng.normal(size=(h, w)), (0, 0), sigma) for _ in range(2)]
    rows, columns = np.indices((h, w), np.float32)
    dx, dy = ((f * largest / np.abs(f).max()).astype(np.float32) for f in fields)
    return cv2.remap(image, columns + dx, rows + dy, cv2.INTER_LINEAR)


def barrel(image: Image, amount: float, radius: float = 0.3) -> Image:
    h, w = image.shape[:2]
    rows, columns = np.indices((h, w), np.float32)
    dx, dy = columns - w / 2, rows - h / 2
    r = np.maximum(np.hypot(dx, dy), 1e-3)
    factor = np.sin(np.pi / 2 * np.minimum(r / (radius * w), 1)) ** amount
    x, y = w / 2 + dx * factor, h / 2 + dy * factor
    return cv2.remap(image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)


def jpeg(image: Image) -> Image:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 1)


COPIES: dict[str, Callable[[Image], Image]] = {
    "same": lambda i: i,
    "hflip": lambda i: i[:, ::-1],
    "vflip": lambda i: i[::-1],
    "90": np.rot90,
    "270 and flip": lambda i: np.rot90(i, 3)[:, ::-1],
    "180": lambda i: i[::-1, ::-1],
    "5 degrees": lambda i: rotated(i, 5),
    "-15 degrees": lambda i: rotated(i, -15),
    "30 degrees": lambda i: rotated(i, 30),
    "shrunk": lambda i: rotated(i, 0, 0.8),
    "sheared": sheared,
    "elastic": lambda i: displaced(i, 8, 4),
    "distorted": lambda i: displaced(i, 40, 0.03 * SIZE),
    "barrel": lambda i: barrel(i, 0.3),
    "pincushion": lambda i: barrel(i, -0.3),
    "large barrel": lambda i: barrel(i, 0.5, 0.5),
    "sharpened": lambda i: cv2.filter2D(i, -1, np.array([[-1] * 3, [-1, 9, -1], [-1] * 3])),
    "brightened": lambda i: cv2.convertScaleAbs(i, alpha=1.2, beta=10),
    "jpeg": jpeg,
    "half": lambda i: cv2.resize(i, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "twice": lambda i: cv2.resize(i, None, fx=2, fy=2),
    "other aspect": lambda i: cv2.resize(i, (SIZE * 3 // 2, SIZE)),
    "grey": lambda i: i[..., :1],
    "16 bits": lambda i: i.astype(np.uint16) * 257,
    "float": lambda i: i.astype(np.float32) * 3.7 - 1000,
}


def printed(image: NDArray) -> ImageHash:
    found = image_hash(np.ascontiguousarray(image))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def fields() -> list[Image]:
    return [cells(seed) for seed in range(24)]


def pairs(found: list[NearDuplicate]) -> list[tuple[int, int]]:
    return sorted((pair.first, pair.second) for pair in found)


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_nothing_else(kind: str, fields: list[Image]) -> None:
    """Three copies among 21 other images of the same kind."""
    change = COPIES[kind]
    train = [printed(image) for image in fields[:12]]
    test = [printed(image) for image in fields[12:]] + [printed(change(i)) for i in fields[:3]]
    found = find_near_duplicates(train + test, [0] * 12 + [2] * 15)
    assert pairs(found) == [(0, 24), (1, 25), (2, 26)]
    assert all(pair.similarity > 0.78 for pair in found)


def test_how_a_copy_lies(fields: list[Image]) -> None:
    first = printed(fields[0])

    def pose(image: NDArray) -> tuple[bool, float]:
        (pair,) = find_near_duplicates([first, printed(image)], [0, 1])
        return pair.flipped, pair.angle

    assert pose(fields[0]) == (False, 0)
    assert pose(np.rot90(fields[0])) == (False, 90)
    assert pose(np.rot90(fields[0], 3)) == (False, 90)
    assert pose(fields[0][:, ::-1])[0]


def test_within_a_part_nothing_is_compared(fields: list[Image]) -> None:
    same = [printed(fields[0])] * 3
    assert find_near_duplicates(same, [1, 1, 1]) == []
    assert pairs(find_near_duplicates(same, [0, 1, 1])) == [(0, 1), (0, 2)]
    assert find_near_duplicates([], []) == []


def test_pairs_can_be_skipped(fields: list[Image]) -> None:
    same = [printed(fields[0])] * 3
    found = find_near_duplicates(same, [0, 1, 2], skip=lambda a, b: (a, b) == (0, 2))
    assert pairs(found) == [(0, 1), (1, 2)]


def test_many_copies_of_one_image_are_all_found(fields: list[Image]) -> None:
    train = [printed(image) for image in fields]
    copies = [printed(COPIES[kind](fields[5])) for kind in list(COPIES)[:12]]
    found = find_near_duplicates(train + copies, [0] * 24 + [1] * 12)
    assert pairs(found) == [(5, 24 + i) for i in range(12)]
    one = find_near_duplicates([*copies, train[5], train[6]], [0] * 12 + [1] * 2)
    assert pairs(one) == [(i, 12) for i in range(12)]


def test_what_a_third_image_links_is_not_told_again(fields: list[Image]) -> None:
    same = [printed(fields[0])] * 4
    assert pairs(find_near_duplicates(same, [0, 1, 2, 2])) == [(0, 1), (0, 2), (0, 3)]


def test_more_images_than_candidates(fields: list[Image]) -> None:
    """The search by magnitudes comes before all else."""
    train = [printed(cells(seed, 128)) for seed in range(100, 200)]
    copies = [printed(rotated(cells(seed, 128), 40)) for seed in (100, 150, 199)]
    found = find_near_duplicates(train + copies, [0] * 100 + [1] * 3)
    assert pairs(found) == [(0, 100), (50, 101), (99, 102)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_image_of_one_value_has_no_hash(dtype: type) -> None:
    assert image_hash(np.full((50, 60, 3), 7, dtype)) is None


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 300, 3), (17, 5, 2), (40, 48, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_odd_shapes(shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    found = image_hash((rng.random(shape) * 200).astype(dtype))
    if found is not None:
        assert np.isfinite(found.spectrum).all()
        assert find_near_duplicates([found, found], [0, 1])[0].similarity > 0.99


def test_a_hash_is_small(fields: list[Image]) -> None:
    found = printed(fields[0])
    assert found.thumbnail.nbytes + found.spectrum.nbytes < 24_000


def test_real_slices_and_cells(shared: Path) -> None:
    """The published samples hold copies of two images; slices of other patients are none."""
    data = shared / "data" / "mini_test"
    files = [
        p
        for name in ("covid-19", "mri-brain-tumor-t2")
        for p in list_files(data / name / "images", (".png",))
    ]
    prints = [printed(read_image(path)) for path in files]
    found = find_near_duplicates(prints, [i % 2 for i in range(len(prints))])
    sources = [tuple(files[i].stem.rpartition("_")[2] for i in (p.first, p.second)) for p in found]
    scans = [pair for pair in sources if len(pair[0]) < 5]
    assert all(a == b for a, b in scans)
    # Neighbouring slices of one patient (13920, 13921) may be found.
    assert all(a[:4] == b[:4] for a, b in sources if len(a) == 5)
