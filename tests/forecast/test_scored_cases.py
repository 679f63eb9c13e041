"""What cases are like, and their Dice from pixel counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from config_parts import labels_of
from flexseg.batches.store import CaseReader
from flexseg.config import load
from flexseg.dataset.cases import Case
from flexseg.files.images import write_png
from flexseg.files.preprocess import Preprocessing
from flexseg.forecast.scored_cases import dice_of, look_at_cases, matrix_of, unit_of
from support import CONFIG


def test_dice_of_the_classes_that_are_there() -> None:
    truth = np.array([[0, 1, 1, 255]], np.uint8)
    predicted = np.array([[0, 1, 0, 2]], np.uint8)
    matrix = matrix_of(truth, predicted, 3)
    assert matrix.sum() == 3  # 255 counts in nothing
    assert dice_of(matrix) == pytest.approx(2 / 3)
    assert dice_of(matrix_of(truth, np.array([[2, 1, 0, 0]], np.uint8), 3)) == pytest.approx(1 / 3)
    assert np.isnan(dice_of(matrix_of(truth * 0, predicted * 0, 3)))


def test_sizes_and_brightness_of_images_and_volumes(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    e = load(tmp_path / "a.toml").experiment
    cases = []
    for i, name in enumerate(("v_0", "v_1")):
        labels = np.zeros((10, 20), np.uint8)
        labels[1:3, 1:5], labels[6:8, 1:2] = 1, 1  # objects of 8 and 2 pixels
        labels[8:, 10:12] = 2 * i
        image, mask = tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png"
        write_png(image, np.full((10, 20, 3), 10 + 20 * i, np.uint8))
        write_png(mask, labels, [0, 0, 0, 0, 255, 0, 255, 0, 0])
        cases.append(Case(name, image, mask, "v"))
    preprocessing = Preprocessing.from_config(e.model, e.image, e.volume, "linear")
    reader = CaseReader(preprocessing, labels_of(e))
    looks = look_at_cases(cases, reader, volumes=False)
    assert looks["v_0"].sizes == {"disc": 5.0} and looks["v_1"].sizes == {"disc": 5.0, "square": 4}
    assert [looks[n].brightness for n in ("v_0", "v_1")] == [10, 30]
    assert looks["v_0"].pixels == 200 and looks["v_0"].group == "v"
    (volume,) = look_at_cases(cases, reader, volumes=True).values()
    assert (volume.sizes, volume.pixels, volume.brightness) == ({"disc": 20, "square": 4}, 400, 20)
    assert unit_of(cases[0], volumes=True) == "v" and unit_of(cases[0], volumes=False) == "v_0"
