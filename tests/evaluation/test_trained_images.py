"""Evaluation of the trained model of a config."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import pytest
from PIL import Image

from flexseg.cli import main
from flexseg.config.load import load
from flexseg.evaluation.trained_images import evaluate
from flexseg.inference.trust.conformal import ClassCalibration, Trust
from flexseg.inference.tuned import TunedChoice, write_choice
from flexseg.models.package import ModelPackage
from sample_run import score_masks


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy(before)


CONFIG = """
[model]
model = "UNet"
num_classes = 3
image_width = 24
image_height = 20
num_layers = 2
base_filters = 4
loss = "categorical_crossentropy"
metrics = ["dice_coef_multiclass", "dice_coef_foreground"]

[mask]
classes = [
  {{id = 0, color = [0, 0, 0]}},
  {{id = 1, name = "disc", color = [0, 255, 0]}},
  {{id = 2, name = "square", color = [255, 0, 0]}},
]

[test]
images_dir = "{data}/test/images"
masks_dir = "{data}/test/masks"

[train]
precision = "float32"
"""


def test_evaluate_from_a_config(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    data = make_dataset({"test": 5}, classes=3)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(data=data.as_posix()), encoding="utf-8")
    loaded = load(path)
    weights = loaded.experiment.train.model_dir / "best_model.h5"
    weights.parent.mkdir()
    ModelPackage.create(loaded.experiment).save(weights, {})
    summary = evaluate(loaded, tmp_path / "evaluation", tmp_path / "evaluation.csv").as_dict()
    lines = (tmp_path / "evaluation.csv").read_text().splitlines()
    names = [line.split(",")[0] for line in lines]
    assert names == ["categorical_crossentropy", "dice_coef_multiclass"]
    assert all(0 < float(line.split(",")[1]) < 5 for line in lines)
    with (tmp_path / "evaluation" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 2
    assert {row["class"] for row in rows} == {"disc", "square"}
    squares = [int(row["reference_px"]) for row in rows if row["class"] == "square"]
    assert squares == [64] * 5
    assert summary["cases"] == 5
    # Nobody has the original systems' figures of a new config.
    assert summary["not_comparable_with_the_above"] is None
    again = (tmp_path / "again", tmp_path / "again.csv")
    legacy = evaluate(replace(loaded, legacy=True), *again).original_figures
    assert f"{legacy['dice_coef_multiclass']:.4f}" == f"{float(lines[1].split(',')[1]):.4f}"
    assert summary["predictions_dir"] == "predictions"
    assert Path(summary["images_dir"]) == data / "test" / "images"
    assert sum(b["pixels"] for b in summary["calibration"]["bins"]) == 5 * 40 * 48
    assert all(0 <= float(row["brier"]) <= 1 and 0 <= float(row["ece"]) <= 1 for row in rows)


def test_predictions_are_kept_as_they_were_scored(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """The masks in `predictions/` give the scores of `cases.csv` when they are read again."""
    data = make_dataset({"test": 5}, classes=3)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(data=data.as_posix()), encoding="utf-8")
    loaded = load(path)
    weights = loaded.experiment.train.model_dir / "best_model.h5"
    weights.parent.mkdir()
    ModelPackage.create(loaded.experiment).save(weights, {})
    folder = tmp_path / "evaluation"
    summary = evaluate(loaded, folder, tmp_path / "evaluation.csv").as_dict()
    masks = data / "test" / "masks"
    again, unpaired = score_masks(folder / "predictions", masks, loaded.experiment)
    assert unpaired == []
    assert again.summary().as_dict()["confusion"] == summary["confusion"]
    assert again.summary().as_dict()["images_dir"] == summary["images_dir"]
    picture = Image.open(folder / "predictions" / "test_00.png")
    assert (picture.mode, picture.size) == ("P", (48, 40))
    assert picture.getpalette("RGB")[:9] == [0, 0, 0, 0, 255, 0, 255, 0, 0]
    evaluate(loaded, folder, tmp_path / "evaluation.csv")
    assert len(list(folder.glob("predictions_*_bak"))) == 1
    assert len(list((folder / "predictions").glob("*.png"))) == 5
    assert not list(folder.glob(".*"))


def test_quality_is_told_as_inference_tells_it(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)  # of some weights no class is predicted
    data = make_dataset({"test": 3}, classes=3)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(data=data.as_posix()), encoding="utf-8")
    loaded = load(path)
    weights = loaded.experiment.train.model_dir / "best_model.h5"
    weights.parent.mkdir()
    package = ModelPackage.create(loaded.experiment)
    package.save(weights, {})
    known = {c: ClassCalibration(1.0, 0.0, 0.5, 20, 0, 0) for c in (1, 2)}
    write_choice(weights, TunedChoice(trust=Trust({2: known})), package.labels)
    evaluate(loaded, tmp_path / "evaluation", tmp_path / "evaluation.csv")
    with pytest.raises(SystemExit):
        main(["infer", str(path), "-i", str(data / "test/images"), "-o", str(tmp_path / "masks")])
    tables = []
    for folder in ("evaluation", "masks"):
        with (tmp_path / folder / "predictions.csv").open(newline="") as file:
            tables.append([{**row, "case": Path(row["case"]).stem} for row in csv.DictReader(file)])
    assert tables[0] == tables[1] and len(tables[0]) == 3 * 2
    assert any(row["dice_high"] for row in tables[0]) and all(row["flag"] for row in tables[0])
