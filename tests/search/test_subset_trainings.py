"""A real training on some of the cases, and its scores."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from search_project import CONFIG

from config_parts import labels_of
from flexseg.config import load
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.dividing import CaseTable
from flexseg.files.images import write_png
from flexseg.files.preprocess import Preprocessing
from flexseg.inference import loading, sliding_window
from flexseg.search.subset_trainings import SubsetJob, Task, scores_of, train_on


@pytest.mark.usefixtures("eager")
def test_a_training_leaves_its_steps_and_the_dice_of_each_validation_case(
    tmp_path: Path, make_dataset: Callable[..., Path]
) -> None:
    make_dataset({"train": 6, "valid": 3})
    config = tmp_path / "a.toml"
    config.write_text(CONFIG, encoding="utf-8")
    splits = find_splits(load(config).experiment.data, only=("train", "valid"))
    train, valid = splits.need("train"), splits.need("valid")
    table = CaseTable(train, np.ones((6, 1), bool), ("",) * 6, ("disc",))
    folder = tmp_path / "run" / "advice"
    overrides = ("train.snapshots=2", "train.schedule=cosine")
    job = SubsetJob(
        config, overrides, folder, "tensorflow", table, valid, False, 3.0, time.time() + 60, 1
    )
    handlers = logging.getLogger("flexseg").handlers[:]
    outcome = train_on(job, Task(0, 0.5, 1.0), train[:3], 3.0)
    assert outcome.measured.cases == 3 and outcome.measured.seconds == 3.0
    assert outcome.measured.steps >= 1 and 0 < outcome.measured.began <= outcome.took
    assert outcome.measured.dice.keys() == {case.id for case in valid}
    assert all(0 <= dice <= 1 for dice in outcome.measured.dice.values())
    assert not (folder / "training").exists() and not (tmp_path / "run/run.json").exists()
    assert logging.getLogger("flexseg").handlers == handlers


class Remembering:
    """A predictor that marks what images have above 100, all but in the first one."""

    def __init__(self, package: Any) -> None:
        self.package = package

    def probabilities(self, images: Any) -> Any:
        for number, (name, image) in enumerate(images):
            found = (image[..., 0] > 100) & (number > 0)
            yield name, image, np.stack([~found, found], axis=-1).astype(np.float32)

    def labels(self, p: Any) -> Any:
        return p.argmax(axis=-1).astype(np.uint8)

    def postprocess(self, labels: Any) -> Any:
        return labels


def test_slices_are_scored_as_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = []
    for i, height in enumerate((5, 15, 0)):
        labels = np.zeros((40, 48), np.uint8)
        labels[:height] = 1
        write_png(tmp_path / f"{i}_image.png", labels * 200)
        write_png(tmp_path / f"{i}_mask.png", labels, [0, 0, 0, 0, 255, 0])
        cases.append(Case(str(i), tmp_path / f"{i}_image.png", tmp_path / f"{i}_mask.png", "v"))
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    loaded = load(tmp_path / "a.toml", ["model.image_channels=1"])
    e = loaded.experiment
    preprocessing = Preprocessing.from_config(e.model, e.image, e.volume, "linear")
    package = SimpleNamespace(preprocessing=preprocessing, labels=labels_of(e))
    monkeypatch.setattr(loading, "make_predictor", lambda *_, **__: Remembering(package))
    monkeypatch.setattr(sliding_window, "as_trained", lambda predictor, _: predictor)
    # Of 20 rows 15 are found; the third slice is empty and has no Dice of its own.
    assert scores_of(loaded, cases, volumes=True) == {"v": pytest.approx(30 / 35)}
    assert scores_of(loaded, cases, volumes=False) == {"0": 0, "1": 1}
