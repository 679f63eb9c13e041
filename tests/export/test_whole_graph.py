"""A graph gives what its predictor gives, whatever the images are and the config says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.errors import ConfigError

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from flexseg.export.interpolation import METHODS  # noqa: E402
from flexseg.export.whole_graph import PixelType, whole_graph  # noqa: E402
from flexseg.inference.predictor import Predictor  # noqa: E402
from small_predictors import blobs, predictor  # noqa: E402


def run(
    given: tuple[Predictor, list[Any]], images: NDArray, pixels: PixelType = "uint8"
) -> tuple[NDArray, NDArray]:
    """Labels and probabilities of images [N, H, W, C]."""
    graph = whole_graph(*given, pixels)
    session = onnxruntime.InferenceSession(graph.model("test", {}).SerializeToString())
    labels, p = session.run(["labels", "probabilities"], {"images": images})
    return labels, p


def check(
    given: tuple[Predictor, list[Any]],
    images: NDArray,
    pixels: PixelType = "uint8",
    tolerance: float = 2e-2,
) -> None:
    """The graph's answers are the predictor's; 8 bits may differ by a grey level here and there."""
    made = given[0]
    expected = [p for _, _, p in made.probabilities((str(i), x) for i, x in enumerate(images))]
    labels, p = run(given, images, pixels)
    assert labels.dtype == np.uint8 and p.dtype == np.float32
    assert p.shape == (*images.shape[:3], made.package.config.num_classes)
    assert np.abs(p - expected).max() <= tolerance
    assert np.std(expected) > 0.05
    wanted = np.stack([made.labels(one) for one in expected])
    assert len(np.unique(wanted)) > 1
    assert (labels == wanted).mean() >= 0.998
    np.testing.assert_array_equal(labels, [made.labels(one) for one in p])


@pytest.mark.parametrize("size", [(24, 32), (61, 97), (13, 17), (15, 90), (48, 64), (91, 20)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", [1, 3])
def test_images_of_any_size(
    size: tuple[int, int], channels: int, stored: int, tmp_path: Path
) -> None:
    images = np.stack([blobs(size, stored, seed) for seed in range(3)])
    check(predictor(tmp_path, channels=channels), images)


@pytest.mark.parametrize("window", [None, (300.0, 21000.0)])
@pytest.mark.parametrize("pixels", ["uint16", "float32"])
def test_other_types(pixels: PixelType, window: tuple[float, float] | None, tmp_path: Path) -> None:
    images = np.stack([blobs((40, 50), 1)]).astype(pixels)
    images = images * 257 if pixels == "uint16" else images * 1.5 - 20
    images = images.astype(pixels)
    made = predictor(tmp_path, channels=1, window=window if pixels == "uint16" else None)
    check(made, images, pixels, 1e-5)


@pytest.mark.parametrize("size", [(40, 50), (15, 20)])
@pytest.mark.parametrize(
    "options",
    [
        {"window": (30.0, 180.0)},
        {"color_order": "BGR"},
        {"gamma": 0.6},
        {"sharpening": 1.0},
        *({"interpolation": name} for name in ("nearest", "bilinear", "cubic", "area", "lanczos")),
        {"interpolation": "scikit-image"},
        {"channels": 5, "neighbours": 2},
        {"channels": 2, "channel_files": True},
    ],
    ids=str,
)
def test_preprocessing(options: dict[str, Any], size: tuple[int, int], tmp_path: Path) -> None:
    channels = options.get("channels", 3)
    images = np.stack([blobs(size, channels, seed) for seed in range(2)])
    check(predictor(tmp_path, **options), images, tolerance=4e-2)


@pytest.mark.parametrize("size", [(24, 24), (24, 32)])
@pytest.mark.parametrize("views", [["hflip"], ["all"], ["scale:0.6", "vflip"], ["scale:1.4"]])
def test_views(views: list[str], size: tuple[int, int], tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, channels=1, size=size)
    images = np.stack([blobs((40, 50), 1, seed) for seed in range(2)])
    check((made.with_postprocessing(views), networks), images)


@pytest.mark.parametrize("options", [{"members": 3}, {"blur": (5, 3)}, {"threshold": 0.3}], ids=str)
def test_what_is_done_with_probabilities(options: dict[str, Any], tmp_path: Path) -> None:
    classes = 1 if "threshold" in options else 3
    made = predictor(tmp_path, channels=1, classes=classes, **options)
    check(made, np.stack([blobs((40, 50), 1)]))


@pytest.mark.parametrize("interpolation", METHODS)
def test_without_float64_it_holds_none(interpolation: str, tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, channels=1, interpolation=interpolation)
    graph = whole_graph(made, networks, "uint16", doubles=False)
    model = onnx.shape_inference.infer_shapes(graph.model("test", {}))
    types = {value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.FLOAT in types and onnx.TensorProto.DOUBLE not in types


def test_the_first_of_equal_classes_wins(tmp_path: Path) -> None:
    made, (network,) = predictor(tmp_path, channels=1)
    (weights,) = (w for w in network.graph.initializer if len(w.dims) == 4)
    weights.raw_data = bytes(len(weights.raw_data))
    labels, p = run((made, [network]), blobs((9, 9), 1)[None])
    np.testing.assert_allclose(p, 1 / 3, atol=1e-6)
    assert not labels.any()


@pytest.mark.parametrize("least", [(60.0,), (60.0, 5.0, 70.0)])
def test_windows_are_not_stretched_beyond_the_training(
    least: tuple[float, ...], tmp_path: Path
) -> None:
    made, networks = predictor(tmp_path, patch_scale=0.5)
    made.package = replace(made.package, least_contrast=least)
    faint = np.stack([blobs((48, 64), 3, seed) // 4 + 90 for seed in range(2)])
    _, p = run((made, networks), faint)
    told = made.with_least_contrast((np.array(least, np.float32),))
    expected = [q for _, _, q in told.probabilities((str(i), x) for i, x in enumerate(faint))]
    as_it_is = [q for _, _, q in made.probabilities((str(i), x) for i, x in enumerate(faint))]
    assert np.abs(p - expected).max() < 2e-3 < np.abs(np.subtract(as_it_is, expected)).max()


def test_what_is_no_part_of_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="color_converter"):
        whole_graph(*predictor(tmp_path, color_converter="cv2.COLOR_BGR2HSV_FULL"), "uint8")
