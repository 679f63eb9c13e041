"""Resizing by rows gives what resizing of the whole gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.files import resizing
from flexseg.files.resizing import ByRows, enlarged, resize, shrunk


@pytest.fixture(autouse=True, scope="module")
def few_values() -> Iterator[None]:
    """Small images have many blocks."""
    before, resizing._VALUES = resizing._VALUES, 300
    yield
    resizing._VALUES = before


@pytest.mark.parametrize("dtype", ["?", "i1", "i2", "i4", "u4", "i8", "u8", "f2", "f4", ">u2"])
def test_values_of_any_type_are_resized(dtype: str) -> None:
    pixels = np.array([[0, 100], [0, 100]])[..., None].astype(dtype)
    resized = resize(pixels, (2, 4), "bilinear")
    assert resized.dtype == pixels.dtype
    expected = np.rint([0, 25, 75, 100]) if dtype != "?" else [0, 0, 1, 1]
    np.testing.assert_array_equal(resized[0, :, 0], expected)


sides = st.integers(1, 33)


def sample(height: int, width: int, channels: int, low: int = 0) -> NDArray[np.uint8]:
    """Pixels that any version of NumPy draws alike."""
    y, x, c = np.indices((height, width, channels))
    return (low + (y * 37 + x * 101 + c * 59 + y * x * 13) % (256 - low)).astype(np.uint8)


# Of skimage.transform.resize(sample(*shape), size, mode="constant", preserve_range=True), version
# 0.26.0, cast to uint8: SHA-256 of the pixels, and the first row of the first channel.
RESIZED_BY_SCIKIT_IMAGE: dict[tuple[tuple[int, ...], tuple[int, int]], tuple[str, list[int]]] = {
    ((37, 53, 3), (16, 12)): (
        "6540358de2300f73",
        [90, 131, 113, 128, 108, 122, 101, 117, 113, 131, 108, 111],
    ),
    ((64, 64, 3), (32, 32)): (
        "879b7ba246b13ba0",
        [
            69,
            98,
            163,
            133,
            102,
            116,
            131,
            151,
            121,
            90,
            110,
            125,
            139,
            108,
            78,
            143,
            113,
            127,
            102,
            123,
            137,
            151,
            121,
            90,
            156,
            125,
            139,
            109,
            84,
            150,
            113,
            122,
        ],
    ),
    ((9, 7, 1), (20, 11)): ("39fd3b3c7dd33e95", [0, 33, 79, 126, 105, 34, 80, 127, 173, 119, 55]),
    ((40, 6, 3), (10, 13)): (
        "a71208c0748f277f",
        [44, 76, 117, 140, 113, 88, 94, 99, 118, 138, 140, 135, 97],
    ),
    ((30, 30, 3, 60), (12, 12)): (
        "3481e73c44dc22e4",
        [117, 153, 131, 145, 129, 149, 148, 136, 168, 158, 155, 138],
    ),
}


@pytest.mark.parametrize(("shape", "size"), RESIZED_BY_SCIKIT_IMAGE)
def test_resizing_is_that_of_scikit_image(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    resized = resize(sample(*shape), size, "scikit-image")
    digest, row = RESIZED_BY_SCIKIT_IMAGE[shape, size]
    assert resized[0, :, 0].tolist() == row
    assert hashlib.sha256(resized.tobytes()).hexdigest()[:16] == digest


@given(
    st.sampled_from([np.uint8, np.float32]),
    st.tuples(sides, sides, st.sampled_from([1, 3])),
    st.tuples(sides, sides),
    st.sampled_from([-300, 0, 90]),
)
def test_resizing_is_that_of_scikit_image_at_any_size(
    dtype: Any, shape: tuple[int, int, int], size: tuple[int, int], low: int
) -> None:
    transform = pytest.importorskip("skimage.transform")
    pixels = (
        np.random.default_rng(0)
        .integers(low if dtype != np.uint8 else abs(low) % 250, 256, shape)
        .astype(dtype)
    )
    expected = transform.resize(pixels, size, mode="constant", preserve_range=True)
    assert np.array_equal(resize(pixels, size, "scikit-image"), expected.astype(dtype))


SIDES = st.tuples(st.integers(1, 20), st.integers(0, 130))


@given(SIDES, SIDES, st.integers(1, 5), st.sampled_from(["uint8", "float32"]), st.data())
def test_shrinking_by_rows(
    rows: tuple[int, int], columns: tuple[int, int], channels: int, dtype: str, data: Any
) -> None:
    height, width = rows[0], columns[0]
    seed = data.draw(st.integers(0, 2**32 - 1))
    shape = (height + rows[1], width + columns[1], channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)
    asked: list[slice] = []

    def read(part: slice) -> np.ndarray:
        asked.append(part)
        return pixels[part]

    found = shrunk(ByRows(read, *shape), (height, width))
    expected = resize(pixels, (height, width), "area")
    assert found.shape == expected.shape and found.dtype == expected.dtype
    difference = np.abs(found.astype(float) - expected).max()
    assert difference <= (1 if dtype == "uint8" else 1e-4)
    assert [part.start for part in asked] == [0, *(part.stop for part in asked[:-1])]
    assert asked[-1].stop == shape[0]


@pytest.mark.parametrize(
    ("shape", "size"),
    [((100, 203, 3), (32, 48)), ((333, 777, 1), (32, 32)), ((640, 320, 3), (64, 64))],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_shrinking_is_equal_bit_for_bit(
    shape: tuple[int, int, int], size: tuple[int, int], dtype: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    found = shrunk(ByRows(pixels.__getitem__, *shape), size)
    np.testing.assert_array_equal(found, resize(pixels, size, "area"))


@given(SIDES, SIDES, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_enlarging_in_parts(
    rows: tuple[int, int], columns: tuple[int, int], channels: int, seed: int
) -> None:
    p = np.random.default_rng(seed).random((rows[0], columns[0], channels), np.float32)
    size = (rows[0] + rows[1], columns[0] + columns[1])
    parts = list(enlarged(p, size))
    assert sum(map(len, parts)) == size[0]
    assert all(part.size <= max(300, part[0].size) for part in parts)
    np.testing.assert_allclose(
        np.concatenate(parts), resize(p, size, "bilinear"), rtol=0, atol=5e-6
    )
