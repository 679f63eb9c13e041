"""`.keras` files: whatever a network is made and trained with can be loaded in safe mode."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from small import SMALL

from flexseg.config.model import ModelConfig
from flexseg.losses import LOSSES, METRICS, keras_loss, keras_metric
from flexseg.models import build_model
from flexseg.models.architecture import MODELS
from flexseg.models.optimizers import make_optimizer
from flexseg.training.compiling import compile_model

SIZE = {"SwinUNet": 16}
pytestmark = pytest.mark.usefixtures("eager")


def _images(model: keras.Model, count: int = 2) -> NDArray[np.float32]:
    size = (count, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(0, 255, size).astype(np.float32)


def _tiny(channels: int = 3) -> keras.Model:
    return build_model(
        "UNet", image_width=16, image_height=16, num_classes=channels, num_layers=2, base_filters=2
    )


def _reloaded(model: keras.Model, folder: Path) -> keras.Model:
    model.save(folder / "x.keras")
    return keras.saving.load_model(folder / "x.keras", safe_mode=True)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_network(name: str, tmp_path: Path) -> None:
    size = SIZE.get(name, 32)
    keys = {"image_width": size, "image_height": size, "num_classes": 3} | SMALL[name]
    model = build_model(name, **keys)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.01)  # some begin with zeros, whose order would not matter
    x = _images(model)
    np.testing.assert_allclose(
        _reloaded(model, tmp_path).predict_on_batch(x), model.predict_on_batch(x), atol=1e-6
    )


@pytest.mark.parametrize(
    "keys",
    [
        {"activation": "mish"},
        {"activation": "leaky_relu", "dropout_rate": 0.2, "dropout_seed_fixing": True},
        {"normalization": True, "input_normalize": True, "image_width": 13},
        {"input_normalize": "standardize_channels", "num_classes": 1},
    ],
)
def test_options(keys: dict[str, object], tmp_path: Path) -> None:
    base = {"image_width": 8, "image_height": 8, "num_layers": 2, "base_filters": 2}
    model = build_model("UNet", **base | keys)
    x = _images(model)
    np.testing.assert_allclose(
        _reloaded(model, tmp_path).predict_on_batch(x), model.predict_on_batch(x), atol=1e-6
    )


@pytest.mark.parametrize("name", sorted({*LOSSES, *METRICS}))
def test_every_loss_and_metric(name: str, tmp_path: Path) -> None:
    registry = LOSSES if name in LOSSES else METRICS
    channels = 1 if registry.get(name).head == "binary" else 3
    model = _tiny(channels)
    loss = name if name in LOSSES else "dice_loss"
    metric = keras_metric(name, channels)
    model.compile(loss=keras_loss(loss, channels), metrics=[metric], jit_compile=False)
    x = _images(model)
    y = np.random.default_rng(1).integers(0, max(2, channels), (2, 16, 16)).astype(np.uint8)
    expected = model.test_on_batch(x, y, return_dict=True)
    found = _reloaded(model, tmp_path).test_on_batch(x, y, return_dict=True)
    assert set(found) == {"loss", name}
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_every_optimizer_goes_on_where_it_was(optimizer: str, ema: float, tmp_path: Path) -> None:
    model = _tiny()
    config = ModelConfig(optimizer=optimizer, learning_rate=0.01, num_classes=3)
    compile_model(model, config, ema)
    x = _images(model)
    y = np.random.default_rng(1).integers(0, 3, (2, 16, 16)).astype(np.uint8)
    model.train_on_batch(x, y)
    again = _reloaded(model, tmp_path)
    assert type(again.optimizer) is type(make_optimizer(config))
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for network in (model, again):
        network.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_in_a_new_process(tmp_path: Path) -> None:
    keys = {"image_width": 32, "image_height": 32, "num_classes": 3} | SMALL["ResEncUNet"]
    model = build_model("ResEncUNet", **keys)
    compile_model(model, ModelConfig(num_classes=3))
    model.save(tmp_path / "x.keras")
    x = _images(model)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import numpy as np, keras, flexseg.models\n"
        "model = keras.saving.load_model('x.keras')\n"
        "assert model.loss.score == 'dice_ce_loss'\n"
        "np.save('p.npy', model.predict_on_batch(np.load('x.npy')))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), model.predict_on_batch(x), atol=1e-6)
