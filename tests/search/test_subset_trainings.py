"""A real training on some of the cases."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from search_project import CONFIG

from flexseg.config import load
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.dividing import CaseTable
from flexseg.search.subset_trainings import SubsetJob, Task, train_on


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
