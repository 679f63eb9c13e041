"""The three engines agree within 1e-4 in float32 on every network of the registry."""

from __future__ import annotations

import importlib.util
import sys
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from small import SMALL

from flexseg.config.model import ModelConfig
from flexseg.models.architecture import MODELS
from flexseg.models.build import build_model
from flexseg.models.networks import efficientnet_b7_unet
from support import run_script

SIZE = {"SwinUNet": 16}
ENGINES = ("tensorflow", "jax", "torch")


def predict(name: str) -> NDArray[np.float32]:
    """Probabilities of a small network whose weights depend on its name alone."""
    size = SIZE.get(name, 32)
    keys = {"model": name, "image_height": size, "image_width": 2 * size, "num_classes": 3}
    model = build_model(ModelConfig.model_validate(keys | SMALL[name]))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for weight in model.weights:
        shape = tuple(weight.shape)
        r = rng.standard_normal(shape)
        if "int" in weight.dtype or (not weight.trainable and len(shape) != 1):
            continue
        if len(shape) > 1:
            r /= np.sqrt(np.prod(shape[:-1]))
        elif "variance" in weight.path or "gamma" in weight.path:
            r = 1 + 0.1 * np.abs(r)
        else:
            r *= 0.1
        weight.assign(r.astype(np.float32))
    x = rng.uniform(0, 255, (2, size, 2 * size, 3)).astype(np.float32)
    return np.asarray(model.predict_on_batch(x), np.float32)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, NDArray]]:
    """engine -> network -> probabilities, each engine in a process of its own."""
    folder = tmp_path_factory.mktemp("engines")
    installed = [e for e in ENGINES if importlib.util.find_spec(e)]
    for engine in installed:
        run_script(Path(__file__), engine, folder / f"{engine}.npz")
    return {engine: dict(np.load(folder / f"{engine}.npz")) for engine in installed}


def test_every_network_is_tested() -> None:
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize("engine", ["jax", "torch"])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_engines_agree(outputs: dict[str, dict[str, NDArray]], name: str, engine: str) -> None:
    if engine not in outputs:
        pytest.skip(f"{engine} is not installed")
    expected = outputs["tensorflow"][name]
    assert expected.std() > 0.01
    assert np.abs(outputs[engine][name] - expected).max() <= 1e-4


def _start_from_zeros() -> None:
    """Random starts would be overwritten, and JAX compiles each of their shapes: minutes."""
    from keras.src.initializers import random_initializers as initializers

    for kind in (initializers.VarianceScaling, initializers.RandomUniform,
                 initializers.RandomNormal, initializers.TruncatedNormal):  # fmt: skip
        kind.__call__ = lambda self, shape, dtype=None: np.zeros(shape, np.float32)


if __name__ == "__main__":
    keras.config.set_dtype_policy("float32")
    _start_from_zeros()
    # Of the same kinds of layers as B7, but a tenth of the time.
    efficientnet_b7_unet.BACKBONE = "EfficientNetB0"
    np.savez(Path(sys.argv[1]), **{name: predict(name) for name in SMALL})
