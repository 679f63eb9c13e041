"""Deep supervision: which loss is trained, which is shown, and what the package keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError
from flexseg.losses import get_loss, get_metric, keras_loss
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.models.build import build_model
from flexseg.training.compiling import compile_model
from flexseg.training.supervision import DeeplySupervised, supervised
from support import flexseg
from synthetic import write_dataset

RESENC = {"model": "ResEncUNet", "stage_features": [4, 6, 8], "stage_blocks": [1]}


def experiment(deep: Any = "auto", **keys: Any) -> Experiment:
    model = {"image_width": 20, "image_height": 24, "image_channels": 1, "num_classes": 3}
    return Experiment.model_validate(
        {"model": model | RESENC | keys, "train": {"deep_supervision": deep}}
    )


def batch(classes: int = 3) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (2, 24, 20, 1)).astype(np.float32)
    return x, rng.integers(0, classes, (2, 24, 20)).astype(np.uint8)


@pytest.mark.parametrize("name", ["ResEncUNet", "UNetPlusPlus"])
@pytest.mark.parametrize("classes", [1, 3])
def test_loss_is_the_weighted_mean_over_the_outputs(name: str, classes: int) -> None:
    e = experiment(model=name, num_classes=classes, num_layers=3, base_filters=4)
    network = supervised(build_model(e.model), e.model, e.train.deep_supervision)
    loss = get_loss("dice_ce_loss", classes)
    network.compile(loss=keras_loss("dice_ce_loss", classes), optimizer="sgd", jit_compile=False)
    x, y = batch(max(classes, 2))
    outputs = network(x, training=True)
    assert len(outputs) == {"ResEncUNet": 2, "UNetPlusPlus": 2}[name]
    assert [tuple(p.shape) for p in outputs] == [(2, 24, 20, classes)] * len(outputs)
    values = [float(np.mean(loss(y, p))) for p in outputs]
    weights = [0.5**i for i in range(len(outputs))]
    expected = np.average(values, weights=weights)
    found = float(network.compute_loss(x, y, outputs, training=True))
    assert found == pytest.approx(expected, rel=1e-5)
    assert float(network.compute_loss(x, y, outputs, training=False)) == pytest.approx(
        values[0], rel=1e-5
    )
    assert abs(values[0] - values[1]) > 1e-4


def test_regularisation_counts_once() -> None:
    e = experiment()
    model = build_model(e.model)
    network = supervised(model, e.model, e.train.deep_supervision)
    network.compile(loss=lambda y, p: 0.0 * p[..., 0], optimizer="sgd")
    kernel = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel.kernel.regularizer = keras.regularizers.L2(0.5)
    expected = 0.5 * float((kernel.get_weights()[0] ** 2).sum())
    x, y = batch()
    found = float(network.compute_loss(x, y, network(x), training=True))
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_step_trains_all_heads_and_shows_the_first_output_s_metrics() -> None:
    e = experiment(metrics=["dice_coef_foreground"])
    model = build_model(e.model)
    network = supervised(model, e.model, e.train.deep_supervision)
    compile_model(network, e.model)
    x, y = batch()
    before = {w.path: keras.ops.convert_to_numpy(w) for w in network.trainable_weights}
    logs = network.train_on_batch(x, y, return_dict=True)
    assert set(logs) == {"loss", "dice_coef_foreground"}
    still = [
        w.path
        for w in network.trainable_weights
        if np.array_equal(before[w.path], keras.ops.convert_to_numpy(w))
    ]
    assert not still
    assert len(network.trainable_weights) == len(model.trainable_weights) + 2
    shown = network.test_on_batch(x, y, return_dict=True)
    p = model.predict_on_batch(x)
    metric = get_metric("dice_coef_foreground", 3)
    loss = get_loss(e.model.loss, 3)
    assert shown["dice_coef_foreground"] == pytest.approx(float(np.mean(metric(y, p))), abs=1e-5)
    assert shown["loss"] == pytest.approx(float(np.mean(loss(y, p))), abs=1e-5)


@pytest.mark.parametrize(
    ("keys", "deep", "expected"),
    [
        ({}, "auto", True),
        ({}, False, False),
        ({"stage_features": [4, 8]}, "auto", False),
        ({"model": "UNet"}, "auto", False),
        ({"model": "UNet"}, False, False),
    ],
)
def test_auto_is_on_where_the_network_is_made_for_it(
    keys: dict[str, Any], deep: Any, expected: bool
) -> None:
    e = experiment(deep, **keys)
    assert (
        isinstance(
            supervised(build_model(e.model), e.model, e.train.deep_supervision), DeeplySupervised
        )
        is expected
    )


def test_a_network_without_stages_is_refused() -> None:
    e = experiment(True, model="UNet")
    with pytest.raises(ConfigError, match=r"UNet is not made for.*ResEncUNet"):
        supervised(build_model(e.model), e.model, e.train.deep_supervision)


def test_a_network_of_the_user_needs_named_stages() -> None:
    e = experiment(True, model="my.module:net")
    with pytest.raises(ConfigError, match="no layers called decoder_0 and decoder_1"):
        supervised(build_model(experiment(model="UNet").model), e.model, True)


CONFIG = """
[model]
model = "ResEncUNet"
stage_features = [4, 6, 8]
stage_blocks = [1]
image_width = 44
image_height = 39
num_classes = 2
learning_rate = 0.01
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
epochs = 2
epoch_change_infer = false
patience = 0
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""


def test_training_resumes_and_the_package_has_one_output(tmp_path: Path) -> None:
    """Two epochs in one go and in two give the same weights; the heads stay out of the package."""
    write_dataset(tmp_path / "dataset")
    config = tmp_path / "a.toml"
    config.write_text(CONFIG, encoding="utf-8")

    def train(folder: str, *options: str) -> list[NDArray]:
        place = f"train.run_dir={tmp_path / folder}"
        assert flexseg("train", config, *options, "--set", place) == 0
        return [array for _, array in read_weights(tmp_path / folder / "models/best_model.h5")]

    whole = train("whole")
    train("parts", "--set", "train.epochs=1")
    parts = train("parts", "--resume")
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)
    names = [name for name, _ in read_weights(tmp_path / "whole/models/best_model.h5")]
    assert not any("supervised" in name for name in names)
    history = json.loads((tmp_path / "parts/history.json").read_text())
    assert len(history["loss"]) == 2
