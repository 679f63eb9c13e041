"""A network that plain Keras opens, with the same answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError
from flexseg.export.network_in_keras import export_keras
from flexseg.models.package import ModelPackage

sys.path.append(str(Path(__file__).parents[1] / "models"))
from small import SMALL

_PROGRAM = """
import sys, keras, numpy
model = keras.saving.load_model(sys.argv[1])
images = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], keras.ops.convert_to_numpy(model(images)))
assert not any(name.startswith("flexseg") for name in sys.modules)
"""


def package(folder: Path, name: str, **options: Any) -> tuple[ModelPackage, Path]:
    size = {"image_height": 32, "image_width": 32, "image_channels": 3, "num_classes": 3}
    config = ModelConfig.model_validate({"model": name, **size, **SMALL[name], **options})
    made = ModelPackage.create(Experiment(model=config))
    rng = np.random.default_rng(0)
    for weight in made.model.trainable_weights:
        # Answers of deep networks grow beyond all numbers where weights are larger or all positive.
        if len(weight.shape) > 1:
            weight.assign(rng.normal(0, 1.6 * np.prod(weight.shape[:-1]) ** -0.5, weight.shape))
    file = folder / "a.h5"
    made.save(file, {})
    return made, file


@pytest.mark.parametrize(
    "name", ["ResEncUNet", pytest.param("EfficientUNet", marks=pytest.mark.long)]
)
def test_it_opens_in_keras_alone(name: str, tmp_path: Path) -> None:
    made, file = package(tmp_path, name)
    images = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    written = export_keras(made, file, tmp_path / "a.keras")
    files = [str(tmp_path / name) for name in ("images.npy", "answers.npy")]
    line = [sys.executable, "-c", _PROGRAM, str(written), *files]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(line, check=True, env=environment)
    expected = np.asarray(made.model(images))
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(np.load(files[1]), expected, rtol=0, atol=1e-4)


def test_layers_that_keras_does_not_have(tmp_path: Path) -> None:
    made, file = package(tmp_path, "SwinUNet")
    with pytest.raises(ConfigError, match="PatchEmbedding, SwinTransformerBlock"):
        export_keras(made, file, tmp_path / "a.keras")
    assert not (tmp_path / "a.keras").exists()


def test_the_command(tmp_path: Path) -> None:
    from support import flexseg

    _, file = package(tmp_path, "UNet")
    assert flexseg("export", file, "--to", "keras") == 0
    assert (tmp_path / "a.keras").is_file()
