"""Every network of the registry, of random weights, predicts in an export as it does in Keras."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.models.architecture import MODELS
from flexseg.models.package import ModelPackage

sys.path.append(str(Path(__file__).parents[1] / "models"))
from small import SMALL

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from flexseg.export.about import About
from flexseg.export.artefact import write_export
from flexseg.export.artefacts.artefact_formats import FORMATS
from flexseg.export.proof.proof_cases import generated_cases
from flexseg.inference.engines.onnx_export import export_onnx
from flexseg.inference.predictor import Predictor
from platform_operators import DIRECTML, TENSORRT, foreign

# Formats whose graph is that of "onnx".
SAME_GRAPH = ("html", "triton", "bioimageio", "mlflow")
# Converting it takes 12 GB and many minutes; it was done once, with a difference of 2.7e-7.
HEAVY = {("EfficientNetB7UNet", "litert")}
# TensorFlow takes up to two minutes to convert one; a few kinds of networks have all operators.
IN_TENSORFLOW = ("saved-model", "litert")
FEW = ("DeepLabV3Plus", "SwinUNet", "UNet")
pytestmark = pytest.mark.usefixtures("engines_on", "eager")
CASES = [
    pytest.param(
        name,
        in_tensorflow,
        marks=pytest.mark.slow if in_tensorflow and name not in FEW else pytest.mark.long,
    )
    for name in sorted(MODELS)
    for in_tensorflow in (False, True)
]


@pytest.mark.parametrize(("name", "in_tensorflow"), CASES)
def test_it_predicts_as_in_keras(name: str, in_tensorflow: bool, tmp_path: Path) -> None:
    size = {"image_height": 64, "image_width": 64, "image_channels": 3, "num_classes": 3}
    config = ModelConfig.model_validate({"model": name, **size, **SMALL[name]})
    made = ModelPackage.create(Experiment(model=config))
    rng = np.random.default_rng(0)
    for weight in made.model.trainable_weights:
        if len(weight.shape) > 1:  # else scales and offsets, which stay as they begin
            weight.assign(rng.normal(0, 1.6 * np.prod(weight.shape[:-1]) ** -0.5, weight.shape))
    made.save(tmp_path / "a.h5", {})
    proof = generated_cases(made, "float32")
    proof = replace(proof, cases=proof.cases[:3])
    network = export_onnx(made, tmp_path / "a.h5")
    assert foreign(onnx.load(network), TENSORRT) == set()
    # ONNX Runtime computes these on the CPU.
    assert foreign(onnx.load(network), DIRECTML) <= {"Resize float32", "Mod int64"}
    for kind in filter(lambda kind: find_spec(FORMATS[kind].library), FORMATS):
        if kind in SAME_GRAPH or (name, kind) in HEAVY:
            continue
        if in_tensorflow != (kind in IN_TENSORFLOW):
            continue
        folder = tmp_path / kind
        given = (Predictor(made), [network], folder, proof, About(name), "float32")
        write_export(*given, kind=kind, force=True)
        found = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
        assert found["largest_difference"] < 1e-3
        assert found["equal_labels"] > 0.999
        assert np.load(folder / "test_probabilities.npy").std() > 0.01
