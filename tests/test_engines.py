"""Training and prediction under JAX and PyTorch, and all three engines agree.

TensorFlow is what all other tests run on.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flexseg.config import load
from flexseg.models.package import ModelPackage
from synthetic import write_dataset
from test_cli import CONFIG

OTHERS = ("jax", "torch")


def need(engine: str) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")


@pytest.mark.parametrize("engine", OTHERS)
def test_train_evaluate_infer(engine: str, tmp_path: Path) -> None:
    need(engine)
    write_dataset(tmp_path / "dataset", classes=3)
    config = tmp_path / "a.toml"
    config.write_text(CONFIG.replace("epochs = 12", "epochs = 1"), encoding="utf-8")
    on_device = ["--set", "augmentation.enabled=true", "--set", "augmentation.augment_on=device"]
    for command in ("train", "evaluate", "infer"):
        line = [sys.executable, "-m", "flexseg.cli", command, str(config), "--backend", engine]
        line += on_device if command == "train" else []
        result = subprocess.run(line, capture_output=True, encoding="utf-8", check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    assert len(list((tmp_path / "predictions").glob("*.png"))) == 4
    assert f'"backend": "{engine}"' in (tmp_path / "run.json").read_text()


PREDICT = """
import sys
from pathlib import Path
import numpy as np
from flexseg.backend import select
select()
from flexseg.config import load
from flexseg.models.package import ModelPackage
folder = Path(sys.argv[1])
package = ModelPackage.load(folder / "w.h5", load(folder / "a.toml").experiment)
x = np.random.default_rng(0).uniform(0, 255, (2, 40, 48, 3)).astype("float32")
np.save(folder / f"{sys.argv[2]}.npy", np.asarray(package.model.predict_on_batch(x)))
"""


@pytest.mark.parametrize("engine", OTHERS)
def test_engines_agree(engine: str, tmp_path: Path) -> None:
    """The same weights give the same probabilities to 1e-4 in float32."""
    need(engine)
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    package = ModelPackage.create(load(tmp_path / "a.toml").experiment)
    package.save(tmp_path / "w.h5", {})
    x = np.random.default_rng(0).uniform(0, 255, (2, 40, 48, 3)).astype("float32")
    expected = np.asarray(package.model.predict_on_batch(x))
    environment = {**os.environ, "KERAS_BACKEND": engine}
    line = [sys.executable, "-c", PREDICT, str(tmp_path), engine]
    subprocess.run(line, check=True, env=environment)
    found = np.load(tmp_path / f"{engine}.npy")
    assert np.abs(found - expected).max() <= 1e-4


AUGMENT = """
import sys
import numpy as np
from flexseg.backend import select
select()
import keras
from flexseg.augment.device import DeviceAugmenter, slots_of
from flexseg.augment.device_ops import augment
from flexseg.augment.policy import Augmenter, RecipePolicy
from flexseg.config.augmentation import AugmentationConfig
every = {name: 1.0 for name, value in AugmentationConfig() if isinstance(value, float)}
policy = RecipePolicy(AugmentationConfig.model_validate(every))
rng = np.random.default_rng(0)
labels = np.kron(rng.integers(0, 3, (3, 5, 6)), np.ones((1, 8, 8))).astype(np.uint8)
images = (60.0 * labels[..., None] + np.linspace(0, 60, 48)[:, None]).astype(np.float32)
slots = slots_of(policy, (40, 48))
x, y = DeviceAugmenter(Augmenter(policy, 1), slots).batch([], [*zip(images, labels)], 0, 0)
x = {key: keras.ops.convert_to_tensor(value) for key, value in x.items()}
result = augment(x, keras.ops.convert_to_tensor(y), slots)
arrays = [keras.ops.convert_to_numpy(array) for array in result]
np.savez(sys.argv[1], images=arrays[0], labels=arrays[1])
"""


@pytest.mark.parametrize("engine", OTHERS)
def test_engines_augment_alike(engine: str, tmp_path: Path) -> None:
    """All transforms at once, noise included, on the device."""
    need(engine)
    results = []
    for name in ("tensorflow", engine):
        file = tmp_path / f"{name}.npz"
        environment = {**os.environ, "KERAS_BACKEND": name}
        subprocess.run([sys.executable, "-c", AUGMENT, str(file)], check=True, env=environment)
        results.append(np.load(file))
    expected, found = results
    assert np.abs(expected["images"] - found["images"]).mean() < 0.05
    assert (expected["labels"] != found["labels"]).mean() < 0.002
    assert expected["images"].std() > 10
