"""Networks that see patches predict by windows in `run.py` as they do in flexseg."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from flexseg.errors import ConfigError
from flexseg.export.artefacts.artefact_format import RUNNERS
from flexseg.inference.sliding_window import TiledPredictor, gaussian_weight
from small_predictors import blobs, predictor
from written_exports import run_alone, write

pytestmark = pytest.mark.usefixtures("engines_on")
# Of the network in pixels of the image: 48 x 64 at half the scale.
OPTIONS = {"patch_scale": 0.5, "channels": 1}
SIZES = {"several": (130, 170), "one": (48, 64), "small": (30, 40), "narrow": (140, 50)}


@pytest.mark.parametrize("classes", [1, 3])
def test_it_predicts_alone_and_in_flexseg(classes: int, tmp_path: Path) -> None:
    from flexseg.api.trained_model import Model

    made, networks = predictor(tmp_path, classes=classes, **OPTIONS)
    tiles = TiledPredictor(made, overlap=12)
    folder = write(tmp_path / "out", made, networks, windows=tiles)
    (tmp_path / "scans").mkdir()
    images = {name: blobs(size, 1, i) for i, (name, size) in enumerate(SIZES.items())}
    for name, image in images.items():
        Image.fromarray(image[..., 0]).save(tmp_path / "scans" / f"{name}.png")
    run = run_alone(folder, tmp_path / "scans", "-o", tmp_path / "masks")
    assert run.returncode == 0, run.stderr
    assert run_alone(folder, "--check").returncode == 0
    model = Model.load(folder / "model.onnx")
    for name, image in images.items():
        ((_, _, p),) = tiles.probabilities([(name, image)])
        labels = np.asarray(Image.open(tmp_path / "masks" / f"{name}.png"))
        assert labels.shape == SIZES[name] and len(np.unique(labels)) > 1
        assert (labels == tiles.labels(p)).mean() > 0.998
        # An eighth of the window on each side is what flexseg takes without a config.
        np.testing.assert_array_equal(model.predict(image).labels, labels)


def test_the_card_says_what_windows(tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, **OPTIONS)
    folder = write(tmp_path / "out", made, networks, windows=TiledPredictor(made, overlap=10))
    card = (folder / "README.md").read_text("utf-8")
    assert "windows of 64 x 48 pixels, which share 10 pixels" in card
    assert json.loads((folder / "parity.json").read_text("utf-8"))["proven"]
    program = (folder / "run.py").read_text("utf-8")
    assert sum(bool(line.strip()) for line in program.splitlines()) < 110


def test_shares_are_those_of_flexseg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(RUNNERS))
    import windows

    assert windows.begins(130, 48, 12) == [0, 36, 72, 82]
    assert windows.begins(48, 48, 12) == [0]
    shares = windows.shares([0, 36], 48, 12)
    weight = gaussian_weight(48, 12)
    np.testing.assert_allclose(shares[0][:36], 1)
    np.testing.assert_allclose(shares[0][36:], weight[36:] / (weight[36:] + weight[:12]), rtol=1e-5)
    sys.modules.pop("windows")


def test_formats_without_such_a_program_refuse(tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, **OPTIONS)
    with pytest.raises(ConfigError, match="by windows"):
        write(tmp_path / "out", made, networks, kind="openvino", windows=TiledPredictor(made))
