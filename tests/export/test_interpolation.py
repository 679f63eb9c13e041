"""Resizing in a graph equals that of `files.resizing`, which OpenCV computes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.files.preprocess import Preprocessing
from flexseg.files.resizing import resize

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from flexseg.export.graph import Graph  # noqa: E402
from flexseg.export.interpolation import METHODS, Method, resized  # noqa: E402

sizes = st.tuples(st.integers(2, 70), st.integers(2, 70))


@cache
def session(method: Method, eight_bits: bool) -> onnxruntime.InferenceSession:
    """Resizes images [N, C, H, W] to the size [2] that it is given."""
    graph = Graph()
    images = graph.input("images", np.float32, ["N", "C", "H", "W"])
    size = graph.input("size", np.int64, [2])
    found = resized(graph, images, size.take(0), size.take(1), method, eight_bits=eight_bits)
    graph.output("found", found, ["N", "C", "h", "w"])
    return onnxruntime.InferenceSession(graph.model("resize", {}).SerializeToString())


def in_graph(pixels: NDArray, size: tuple[int, int], method: Method) -> NDArray:
    """Pixels [H, W, C] at a size."""
    images = pixels.astype(np.float32).transpose(2, 0, 1)[None]
    feeds = {"images": images, "size": np.array(size, np.int64)}
    return session(method, pixels.dtype == np.uint8).run(None, feeds)[0][0].transpose(1, 2, 0)


def expected(pixels: NDArray, size: tuple[int, int], method: Method) -> NDArray:
    if method == "auto":
        return Preprocessing(size[1], size[0], pixels.shape[2]).at_size(pixels)
    return resize(pixels, size, method)


def random_pixels(size: tuple[int, int], channels: int = 3) -> NDArray[np.uint8]:
    rng = np.random.default_rng(size[0] * 1000 + size[1])
    return rng.integers(0, 256, (*size, channels), np.uint8)


@pytest.mark.parametrize("method", METHODS)
@given(size=sizes, target=sizes)
@example((28, 76), (70, 50))  # one side shrinks by area, the other grows: exact whole numbers
@example((64, 40), (32, 20))
@example((60, 40), (20, 40))
@example((31, 17), (31, 17))
@settings(max_examples=40, deadline=None)
def test_of_any_size(method: Method, size: tuple[int, int], target: tuple[int, int]) -> None:
    pixels = random_pixels(size)
    found = in_graph(pixels, target, method)
    assert np.abs(found - expected(pixels, target, method)).max() <= 1
    floats = pixels.astype(np.float32)
    found = in_graph(floats, target, method)
    np.testing.assert_allclose(found, expected(floats, target, method), atol=2e-2)


def test_without_float64_hardly_any_size_differs() -> None:
    """OpenCV's rounding of places that are whole numbers is met in most sizes."""
    graph = Graph(doubles=False)
    images = graph.input("images", np.float32, ["N", "C", "H", "W"])
    size = graph.input("size", np.int64, [2])
    found = resized(graph, images, size.take(0), size.take(1), "auto")
    graph.output("found", found, ["N", "C", "h", "w"])
    run = onnxruntime.InferenceSession(graph.model("resize", {}).SerializeToString()).run
    rng = np.random.default_rng(0)
    equal = []
    for _ in range(60):
        (height, rows), (columns, width) = np.sort(rng.integers(2, 70, (2, 2)))
        pixels = random_pixels((height, width)).astype(np.float32)
        feeds = {"images": pixels.transpose(2, 0, 1)[None], "size": np.array([rows, columns])}
        wanted = expected(pixels, (int(rows), int(columns)), "auto")
        difference = run(None, feeds)[0][0].transpose(1, 2, 0) - wanted
        equal.append(np.abs(difference).max() < 2e-2)
    assert np.mean(equal) > 0.9


@pytest.mark.parametrize(
    ("size", "target"),
    [((61, 97), (24, 40)), ((24, 40), (61, 97)), ((24, 97), (61, 40)), ((80, 64), (40, 32))],
)
def test_eight_bits_hardly_ever_differ(size: tuple[int, int], target: tuple[int, int]) -> None:
    """They are rounded where OpenCV rounds them."""
    pixels = random_pixels(size)
    found = in_graph(pixels, target, "auto")
    assert (found != expected(pixels, target, "auto")).mean() < 0.02


def test_the_mean_of_an_image_is_a_pixel() -> None:
    pixels = np.array([[0, 10], [20, 30]], np.float32)[..., None]
    assert in_graph(pixels, (1, 1), "auto").item() == 15
    assert in_graph(np.array([[[4.0]]], np.float32), (2, 3), "auto").tolist() == [[[4.0]] * 3] * 2
