"""Our networks against the original systems' own outputs, with the original weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flexseg.config.load import load
from flexseg.models.build import build_model
from flexseg.models.package import ModelPackage
from flexseg.models.weights import read_weights

NETWORKS = ["flex_unet", "flex_unet_bn_mish", "api_unet"]


@pytest.mark.parametrize("name", NETWORKS)
class TestParity:
    def test_parameter_count_and_shape(self, shared: Path, name: str) -> None:
        facts = json.loads((shared / "parity" / f"{name}.json").read_text())
        model = build_model(load(shared / "parity" / f"{name}.config").experiment.model)
        assert model.count_params() == facts["params"]
        assert list(model.output_shape[1:]) == facts["output_shape"][1:]

    def test_weights_have_the_original_order(self, shared: Path, name: str) -> None:
        facts = json.loads((shared / "parity" / f"{name}.json").read_text())
        model = build_model(load(shared / "parity" / f"{name}.config").experiment.model)
        assert [list(w.shape) for w in model.weights] == [w[1] for w in facts["weights"]]
        stored = read_weights(shared / "parity" / f"{name}.h5")
        own = [w for layer in model.layers for w in layer.weights]
        assert [w.shape for w in own] == [array.shape for _, array in stored]

    def test_output_is_that_of_the_original(self, shared: Path, name: str) -> None:
        experiment = load(shared / "parity" / f"{name}.config").experiment
        package = ModelPackage.load(shared / "parity" / f"{name}.h5", experiment)
        with np.load(shared / "parity" / f"{name}.npz") as archive:
            x, expected = archive["x"], archive["y"]
        assert x.dtype == np.uint8 and expected.std() > 0.01
        found = package.model.predict_on_batch(x.astype(np.float32))
        assert np.abs(found - expected).max() <= 1e-4


def test_the_tolerance_sees_one_wrong_weight(shared: Path) -> None:
    experiment = load(shared / "parity" / "flex_unet.config").experiment
    package = ModelPackage.load(shared / "parity" / "flex_unet.h5", experiment)
    with np.load(shared / "parity" / "flex_unet.npz") as archive:
        x, expected = archive["x"], archive["y"]
    layer = package.model.layers[1]
    kernel, bias = layer.get_weights()
    kernel[0, 0, 0, 0] += 0.01
    layer.set_weights([kernel, bias])
    found = package.model.predict_on_batch(x.astype(np.float32))
    assert np.abs(found - expected).max() > 1e-4
