"""Our networks against the original systems' own outputs, with the original weights."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.config.load import load
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.models.build import build_model
from flexseg.models.package import ModelPackage

# The networks whose weights are stored beside the output, and those whose weights follow a rule.
STORED = [
    "flex_unet", "flex_unet_bn_mish", "flex_attention", "flex_multires", "flex_swin",
    "flex_trans", "flex_u2net", "flex_sharp", "api_unet", "api_attention", "api_multires",
    "api_unet3plus",
]  # fmt: skip
RULED = ["flex_deeplab", "flex_efficient_b0", "api_deeplab", "api_efficient_b0", "api_efficient_b7"]


def build(shared: Path, name: str) -> tuple[keras.Model, dict[str, Any]]:
    """The network of a fixture, its encoder not pretrained, and the facts about the original."""
    config = load(shared / "parity" / f"{name}.config", ["model.weights=none"])
    facts = json.loads((shared / "parity" / f"{name}.json").read_text())
    return build_model(config.experiment.model), facts


def difference(model: keras.Model, shared: Path, name: str) -> float:
    """Max |ours - original's| over all probabilities."""
    with np.load(shared / "parity" / f"{name}.npz") as archive:
        x, expected = archive["x"], archive["y"]
    assert x.dtype == np.uint8 and expected.std() > 0.01
    found = model.predict_on_batch(x.astype(np.float32))
    return float(np.abs(found - expected).max())


def ruled_weights(facts: dict[str, Any], initial: list[NDArray]) -> list[NDArray]:
    """The weights by the rule that the fixtures' README states."""
    rng = np.random.default_rng(facts["seed"])
    weights = []
    for (name, shape, trainable), start in zip(facts["weights"], initial, strict=True):
        r = rng.standard_normal(shape).astype(np.float32)
        if "count" in name or not (
            trainable or any(part in name for part in ("variance", "mean", "gamma", "beta"))
        ):
            weights.append(start)
        elif "variance" in name:
            weights.append(1 + 0.1 * np.abs(r))
        elif "gamma" in name:
            weights.append(1 + 0.1 * r)
        elif len(shape) >= 2 and "embed" not in name and "relative" not in name:
            weights.append(r / np.float32(np.sqrt(max(1, math.prod(shape[:-1])))))
        else:
            weights.append(0.1 * r)
    if (head := facts["head_index"]) is not None:
        weights[head] = weights[head] * facts["head_scale"]
    return weights


def test_every_fixture_is_tested(shared: Path) -> None:
    assert {path.stem for path in (shared / "parity").glob("*.json")} == {*STORED, *RULED}


@pytest.mark.parametrize("name", STORED + RULED)
def test_parameter_count_and_shape(shared: Path, name: str) -> None:
    model, facts = build(shared, name)
    assert model.count_params() == facts["params"]
    assert list(model.output_shape[1:]) == facts["output_shape"][1:]


@pytest.mark.parametrize("name", STORED)
def test_weights_have_the_original_order(shared: Path, name: str) -> None:
    model, _ = build(shared, name)
    stored = read_weights(shared / "parity" / f"{name}.h5")
    own = [w for layer in model.layers for w in layer.weights]
    assert [w.shape for w in own] == [array.shape for _, array in stored]


@pytest.mark.parametrize("name", STORED)
def test_output_is_that_of_the_original(shared: Path, name: str) -> None:
    experiment = load(shared / "parity" / f"{name}.config").experiment
    package = ModelPackage.load(shared / "parity" / f"{name}.h5", experiment)
    assert difference(package.model, shared, name) <= 1e-4


@pytest.mark.parametrize("name", RULED)
def test_output_is_that_of_the_original_with_an_encoder(shared: Path, name: str) -> None:
    model, facts = build(shared, name)
    assert [list(weight.shape) for weight in model.weights] == [w[1] for w in facts["weights"]]
    model.set_weights(ruled_weights(facts, model.get_weights()))
    assert difference(model, shared, name) <= 1e-4


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
