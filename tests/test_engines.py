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

from engine_augment import augmented_batch
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


@pytest.mark.parametrize("engine", OTHERS)
def test_engines_augment_alike(engine: str, tmp_path: Path) -> None:
    """All transforms at once, noise included, on the device."""
    need(engine)
    file = tmp_path / "batch.npz"
    script = Path(__file__).with_name("engine_augment.py")
    environment = {**os.environ, "KERAS_BACKEND": engine}
    subprocess.run([sys.executable, str(script), str(file)], check=True, env=environment)
    expected, found = augmented_batch(), np.load(file)
    assert np.abs(expected["images"] - found["images"]).mean() < 0.05
    assert (expected["labels"] != found["labels"]).mean() < 0.002
    assert expected["images"].std() > 10
