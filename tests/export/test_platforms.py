"""Graphs hold only operators that TensorRT's and DirectML's lists have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from flexseg.export.graph import OPSET  # noqa: E402
from flexseg.export.interpolation import METHODS  # noqa: E402
from flexseg.export.whole_graph import whole_graph  # noqa: E402
from platform_operators import DIRECTML, TENSORRT, foreign, operators  # noqa: E402
from small_predictors import predictor  # noqa: E402


def graph(folder: Path, *, pixels: str = "uint8", doubles: bool = False, **options: Any) -> Any:
    classes = options.pop("classes", 3)
    made, networks = predictor(folder, classes=classes, **options)
    made = made.with_postprocessing(["all", "scale:0.6"])
    found = whole_graph(made, networks, pixels, doubles=doubles, signal=True)  # type: ignore[arg-type]
    return found.model("test", {})


@pytest.mark.parametrize(
    "options",
    [
        *({"interpolation": method} for method in METHODS),
        {"window": (10.0, 90.0), "channels": 1},
        {"gamma": 0.6, "sharpening": 1.0},
        {"members": 2, "blur": (5, 5)},
        {"classes": 1},
    ],
    ids=str,
)
def test_all_steps_are_taken_by_both(options: dict[str, Any], tmp_path: Path) -> None:
    model = graph(tmp_path, **options)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert OPSET <= 18 and {"MatMul", "Range", "Where"} <= set(operators(model))
    assert foreign(model, TENSORRT) == set()
    assert foreign(model, DIRECTML) == set()


def test_float64_is_foreign_to_both(tmp_path: Path) -> None:
    model = graph(tmp_path, doubles=True)
    assert "Reciprocal float64" in foreign(model, TENSORRT) & foreign(model, DIRECTML)


def test_tensorrt_has_no_16_bits(tmp_path: Path) -> None:
    assert foreign(graph(tmp_path, pixels="uint16"), TENSORRT) == {"Cast uint16"}
    assert foreign(graph(tmp_path, pixels="float32"), TENSORRT) == set()
