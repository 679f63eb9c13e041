"""Networks of fewer bits go through the same proof, within graphs whose rest is float32."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from flexseg.errors import ConfigError, ResourceError  # noqa: E402
from flexseg.export.artefacts.artefact_formats import FORMATS  # noqa: E402
from flexseg.export.precision import in_precision  # noqa: E402
from flexseg.inference.predictor import Predictor  # noqa: E402
from flexseg.model_file.export_description import Precision  # noqa: E402
from flexseg.model_file.onnx_file import DIGEST, add_properties, read_properties  # noqa: E402
from small_predictors import blobs, predictor  # noqa: E402
from written_exports import run_alone, save, write  # noqa: E402

pytestmark = pytest.mark.usefixtures("engines_on")


def converted(folder: Path, precision: Precision) -> tuple[Predictor, list[Any]]:
    """A predictor, and its network in another precision."""
    made, networks = predictor(folder, channels=1)
    files = save(folder / "networks", networks)
    for file in files:
        add_properties(file, {DIGEST: "known"})
    size = made.package.preprocessing
    images = [size.image(blobs((40, 50), 1, i)).astype(np.float32)[None] for i in range(20)]
    found = in_precision(files, precision, images, folder)
    assert all(read_properties(file)[DIGEST] == "known" for file in found)
    return made, [onnx.load(file) for file in found]


@pytest.mark.parametrize(
    ("precision", "of_weights", "limit"),
    [("float32", "FLOAT", 0), ("float16", "FLOAT16", 2e-3), ("int8", "INT8", 0.1)],
)
def test_weights_have_it_and_probabilities_are_near(
    precision: Precision, of_weights: str, limit: float, tmp_path: Path
) -> None:
    made, networks = converted(tmp_path, precision)
    (weights,) = (w for w in networks[0].graph.initializer if len(w.dims) == 4)
    assert weights.data_type == getattr(onnx.TensorProto, of_weights)
    folder = write(tmp_path / "out", made, networks, precision=precision, force=True)
    proof = json.loads((folder / "parity.json").read_text("utf-8"))
    assert proof["largest_difference"] <= limit + 1e-6
    assert (proof["largest_difference"] > 1e-6) == (precision != "float32")
    card = (folder / "README.md").read_text("utf-8")
    assert (f"The network computes in {precision}" in card) == (precision != "float32")
    assert run_alone(folder, "--check").returncode == 0


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_flexseg_predicts_with_it(precision: Precision, tmp_path: Path) -> None:
    from flexseg.api.trained_model import Model

    folder = write(
        tmp_path / "out", *converted(tmp_path, precision), precision=precision, force=True
    )
    model = Model.load(folder / "model.onnx")
    named = {"float16": "f16", "int8": "int8"}[precision]
    assert named in repr(model)
    found = model.predict(blobs((50, 37), 1))
    assert found.labels.shape == (50, 37)


def test_formats_without_it_refuse_it() -> None:
    form = replace(FORMATS["onnx"], precisions=("float32", "float16"))
    form.require_precision("float16")
    with pytest.raises(ConfigError, match="not written in int8"):
        form.require_precision("int8")


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_openvino(precision: Precision, tmp_path: Path) -> None:
    # Not imported here: its converter would report to its makers, see `openvino_cpu.silence`.
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    made, networks = converted(tmp_path, precision)
    folder = write(
        tmp_path / "out", made, networks, kind="openvino", precision=precision, force=True
    )
    proof = json.loads((folder / "parity.json").read_text("utf-8"))
    assert proof["largest_difference"] < 0.1 and proof["equal_labels"] > 0.97


def test_what_is_no_network_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"damaged")
    with pytest.raises(ResourceError, match="cannot be converted to float16"):
        in_precision([tmp_path / "a.onnx"], "float16", [], tmp_path)
