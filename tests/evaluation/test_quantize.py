"""int8 by `flexseg quantize`: what it costs is told, and what is kept predicts."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from flexseg.config.load import load
from flexseg.evaluation.quantize import quantize
from flexseg.files.images import write_png
from flexseg.inference.engines.quantized import files_of
from flexseg.inference.loading import make_predictor
from flexseg.models.package import ModelPackage
from support import flexseg

pytestmark = [
    pytest.mark.usefixtures("engines_on"),
    pytest.mark.skipif(
        not (importlib.util.find_spec("openvino") and importlib.util.find_spec("nncf")),
        reason="the extra openvino is not installed",
    ),
]

CONFIG = """
[model]
model = "UNet"
num_classes = 1
image_width = 32
image_height = 32
num_layers = 2
base_filters = 4
base_kernels = [3, 3]

[train]
images_dir = "train/images"
masks_dir = "train/masks"

[valid]
images_dir = "valid/images"
masks_dir = "valid/masks"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A project whose network has weights, trained or not: both versions see the same ones."""
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        for i in range(6):
            image = rng.integers(0, 255, (32, 32, 3), np.uint8)
            write_png(tmp_path / split / "images" / f"{split}{i}.png", image)
            mask = (image[..., 0] > 128).astype(np.uint8) * 255
            write_png(tmp_path / split / "masks" / f"{split}{i}.png", mask)
    path = tmp_path / "c.toml"
    path.write_text(CONFIG, encoding="utf-8")
    experiment = load(path).experiment
    experiment.train.model_dir.mkdir()
    ModelPackage.create(experiment, tmp_path).save(tmp_path / "models" / "best_model.h5", {})
    return path


def test_scores_of_both_and_the_network_that_is_kept(config: Path) -> None:
    loaded = load(config)
    found = quantize(loaded, config.parent / "quantization", keep=True)
    assert set(found.seconds) == {"plain", "int8"}
    assert 0.5 < found.agreement <= 1
    for name in ("plain", "int8"):
        assert (found.folder / name / "cases.csv").is_file()
    model, weights, description = files_of(config.parent / "models" / "best_model.h5")
    assert found.kept == model and weights.is_file()
    evidence = json.loads(description.read_text(encoding="utf-8"))
    assert evidence["validation_cases"] == 6
    assert evidence["labels_equal"] == found.agreement

    plain = make_predictor(load(config, ["infer.engine=keras"]))
    int8 = make_predictor(load(config, ["infer.int8=true"]))
    assert "int8" in int8.describe()["engine"]
    x = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    difference = np.abs(plain.at_model_size(x) - int8.at_model_size(x))
    assert 0 < difference.max() < 0.2


def test_command(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not ask what was trained on what, so a damaged manifest is none of its business."""
    (config.parent / "run.json").write_text('{"status": "finished", "conf', encoding="utf-8")
    assert flexseg("quantize", config) == 0
    printed, told = capsys.readouterr()
    assert "manifest" not in printed + told
    assert "not kept" in printed and "of the labels are equal" in printed
    assert not files_of(config.parent / "models" / "best_model.h5")[0].exists()


def test_an_ensemble_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("quantize", config, "--set", "train.best_model_file=ensemble.json") == 2
    assert "several networks" in " ".join(capsys.readouterr().err.split())
