"""MLflow loads an export and predicts with it, where nothing else of flexseg is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexseg.config.infer import PostprocessConfig
from flexseg.inference.postprocess import Postprocessing
from small_predictors import predictor
from written_exports import python_alone, run_alone, write

mlflow = pytest.importorskip("mlflow")

pytestmark = pytest.mark.usefixtures("engines_on")
LOAD = """
import os, sys
from pathlib import Path
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow.pyfunc
import numpy as np

folder = Path(sys.argv[1])
model = mlflow.pyfunc.load_model(folder)
np.save(sys.argv[2], model.predict(np.load(folder / "test_input.npy")))
"""


@pytest.mark.parametrize(
    ("options", "pixels", "channels"),
    [({"channels": 1}, "uint8", -1), ({"channels": 3, "neighbours": 1}, "uint16", 3)],
)
def test_the_signature(options: dict[str, int], pixels: str, channels: int, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", *predictor(tmp_path, **options), pixels, kind="mlflow")
    (images,) = mlflow.models.Model.load(folder).signature.inputs.inputs
    assert images.shape == (-1, -1, -1, channels) and images.type == np.dtype(pixels)
    (labels,) = mlflow.models.Model.load(folder).signature.outputs.inputs
    assert labels.shape == (-1, -1, -1) and labels.type == np.uint8
    assert str(tmp_path) not in (folder / "MLmodel").read_text(encoding="utf-8")
    assert run_alone(folder, "--check").returncode == 0


def test_it_predicts_alone_with_the_steps_after_the_graph(tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, channels=1)
    steps = Postprocessing.from_config(
        PostprocessConfig(largest_component=True), made.package.labels
    )
    made = made.with_postprocessing([], {2: steps})
    folder = write(tmp_path / "out", made, networks, kind="mlflow")
    assert "scipy" in (folder / "requirements.txt").read_text(encoding="utf-8")
    folder = folder.rename(tmp_path / "elsewhere")
    found = tmp_path / "found.npy"
    run = python_alone(tmp_path, "-c", LOAD, folder, found)
    assert run.returncode == 0, run.stderr
    of_graph = np.load(folder / "test_labels.npy")
    expected = made.postprocess(of_graph[0])
    assert (expected != of_graph[0]).any()
    np.testing.assert_array_equal(np.load(found)[0], expected)
