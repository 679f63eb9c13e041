"""TensorFlow gives what ONNX Runtime gives, of whole graphs and of single operators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.errors import ConfigError

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
tf = pytest.importorskip("tensorflow")

from flexseg.export.artefacts.saved_model import in_tensorflow  # noqa: E402
from flexseg.export.graph import Graph, Tensor  # noqa: E402
from flexseg.export.whole_graph import whole_graph  # noqa: E402
from small_predictors import blobs, predictor  # noqa: E402


def both(model: Any, images: NDArray) -> tuple[Mapping[str, NDArray], Mapping[str, NDArray]]:
    """What ONNX Runtime gives, and what TensorFlow gives."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(names, {"images": images}), strict=True))
    found = in_tensorflow(model)(tf.constant(images))
    return expected, {name: tensor.numpy() for name, tensor in found.items()}


@pytest.mark.parametrize(
    ("views", "options"),
    [
        ([], {"channels": 1}),
        (["flips"], {"members": 2, "classes": 1, "threshold": 0.3, "blur": (5, 3)}),
        (["rot90", "scale:0.8", "scale:1.2"], {"size": (24, 24), "interpolation": "scikit-image"}),
    ],
)
def test_whole_graphs(views: list[str], options: dict[str, Any], tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, **options)
    model = whole_graph(made.with_postprocessing(views), networks, "uint8").model("test", {})
    for size in ((61, 97), (15, 90)):
        images = np.stack([blobs(size, options.get("channels", 3), seed) for seed in range(2)])
        expected, found = both(model, images)
        assert found["probabilities"].shape == expected["probabilities"].shape
        assert np.abs(found["probabilities"] - expected["probabilities"]).max() < 1e-5
        assert (found["labels"] == expected["labels"]).mean() > 0.999


SIZE = (2, 5, 12, 15)  # [N, C, H, W] as it is within the graphs below


def check(operator: Any, tolerance: float = 1e-5) -> None:
    """An operator, from images as channels first to anything, gives the same."""
    graph = Graph()
    images = graph.input("images", np.float32, ["N", *(SIZE[axis] for axis in (2, 3, 1))])
    found = operator(graph, images.transposed(0, 3, 1, 2))
    graph.output("found", found, ["N", *"abc"])
    x = np.random.default_rng(0).normal(0, 1, [SIZE[axis] for axis in (0, 2, 3, 1)])
    expected, own = both(graph.model("test", {}), x.astype(np.float32))
    np.testing.assert_allclose(own["found"], expected["found"], rtol=0, atol=tolerance)


def weights(graph: Graph, *shape: int) -> Tensor:
    return graph.tensor(np.random.default_rng(1).normal(0, 0.3, shape), np.float32)


@pytest.mark.parametrize("group", [1, 5])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, 1], [2, 2, 2, 2]])
def test_convolutions(group: int, dilation: int, stride: int, pads: list[int]) -> None:
    keys = {"group": group, "pads": pads, "strides": [stride] * 2, "dilations": [dilation] * 2}

    def operator(graph: Graph, x: Tensor) -> Tensor:
        given = weights(graph, 10, 5 // group, 3, 3), weights(graph, 10)
        return graph.node("Conv", x, *given, **keys)

    if group > 1 and stride > 1 and dilation > 1:
        with pytest.raises(ConfigError, match="strides and dilations"):
            check(operator)
    else:
        check(operator)


@pytest.mark.parametrize(
    ("length", "stride", "pads"), [(2, 2, [0, 0, 0, 0]), (3, 2, [0, 0, 1, 1]), (4, 2, [1, 1, 1, 1])]
)
def test_transposed_convolutions(length: int, stride: int, pads: list[int]) -> None:
    keys = {"pads": pads, "strides": [stride] * 2}
    check(lambda g, x: g.node("ConvTranspose", x, weights(g, 5, 3, length, length), **keys))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("length", "stride", "pads"), [(2, 2, [0, 0, 0, 0]), (3, 2, [1, 1, 1, 1]), (3, 1, [1, 1, 1, 1])]
)
def test_pooling(op: str, length: int, stride: int, pads: list[int]) -> None:
    keys = {"kernel_shape": [length] * 2, "strides": [stride] * 2, "pads": pads}
    if op == "AveragePool" and (length, stride) == (3, 2):
        with pytest.raises(ConfigError, match="AveragePool of uneven borders"):
            check(lambda g, x: g.node(op, x, **keys))
    else:
        check(lambda g, x: g.node(op, x, **keys))


@pytest.mark.parametrize(
    ("mode", "place", "rounding"),
    [
        ("linear", "half_pixel", "floor"),
        ("linear", "asymmetric", "floor"),
        ("linear", "align_corners", "floor"),
        ("nearest", "asymmetric", "floor"),
        ("nearest", "half_pixel", "round_prefer_ceil"),
    ],
)
@pytest.mark.parametrize("size", [(24, 45), (6, 5)])
def test_resizing(mode: str, place: str, rounding: str, size: tuple[int, int]) -> None:
    keys = {"mode": mode, "coordinate_transformation_mode": place, "nearest_mode": rounding}

    def operator(graph: Graph, x: Tensor) -> Tensor:
        scales = [1, 1, *(new / old for new, old in zip(size, SIZE[2:], strict=True))]
        nothing = graph.tensor(np.zeros(0), np.float32)
        return graph.node("Resize", x, nothing, graph.tensor(scales, np.float32), **keys)

    check(operator, 1e-4)


@pytest.mark.parametrize(
    "operator",
    [
        lambda g, x: g.node("Erf", x),
        lambda g, x: g.node("Softmax", x, axis=1),
        lambda g, x: g.node("ReduceMean", x, g.tensor([2, 3], np.int64), keepdims=1) * x,
        lambda g, x: g.node("ReduceMean", x, g.tensor([1], np.int64), keepdims=0).cast(np.float64),
        lambda g, x: g.joined([x, x.transposed(0, 1, 2, 3) * 2.0], 1).take([3, 1, 0], 1),
        lambda g, x: x.part(2, 1, -1).flipped(1) + weights(g, 15),
        lambda g, x: x.take(2, 1),
        lambda g, x: g.node("Pad", x, g.tensor([0, 1, 2, 0, 0, 3, 0, 1], np.int64)),
        lambda g, x: g.node("ArgMax", x, axis=1, keepdims=1, dtype=np.int64),
    ],
)
def test_axes_that_have_moved(operator: Any) -> None:
    check(operator)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="operator Acos"):
        check(lambda g, x: g.node("Acos", x))
