"""Trainings without a network, which processes of a search can import by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from flexseg.config.load import LoadedConfig, load
from flexseg.errors import ResourceError, TrainingError
from flexseg.search.search import Search
from flexseg.search.shared_study import SharedStudy
from flexseg.search.study import open_study
from flexseg.search.study_places import StudyPlace
from flexseg.search.trial_report import TrialReport
from flexseg.search.trials import Train

METRIC = "val_dice_coef_foreground"
_EPOCHS = 5


def pretend(loaded: LoadedConfig, report: TrialReport, seconds: float = 0.0) -> None:
    """Epochs that reach a score, which is best at learning_rate 0.03 and base_filters 8."""
    model, train = loaded.experiment.model, loaded.experiment.train
    train.model_dir.mkdir(parents=True)
    for name in ("checkpoint.npz", train.best_model_file):
        (train.model_dir / name).write_text("weights")
    reached = 0.9 - abs(model.learning_rate - 0.03) * 5 - (model.base_filters != 8) * 0.1
    for epoch in range(1, _EPOCHS + 1):
        report.started -= report.seconds / _EPOCHS
        time.sleep(seconds)
        score = reached * epoch / _EPOCHS
        if report.epoch({"val_loss": 1 - score, METRIC: score}):
            break


def pretend_old(loaded: LoadedConfig, report: TrialReport) -> None:
    """One epoch for a config of any metric; more filters are better."""
    loss = 1 / loaded.experiment.model.base_filters
    report.epoch({"val_loss": loss, f"val_{loaded.experiment.model.metrics[0]}": 1 - loss})


def die(loaded: LoadedConfig, report: TrialReport) -> None:
    """As a process that the system kills for want of memory, unless the config is as it was."""
    if loaded.experiment.model.learning_rate != 0.01:
        if sys.platform == "win32":
            os._exit(9)
        os.kill(os.getpid(), signal.SIGKILL)
    pretend(loaded, report, seconds=0.05)


def fail(loaded: LoadedConfig, report: TrialReport) -> None:
    """As a training whose loss is not finite."""
    raise TrainingError("The loss became nan.", "Lower the rate.")


def fill_the_disk(loaded: LoadedConfig, report: TrialReport) -> None:
    """As a training whose files the disk has no room for."""
    raise ResourceError("It cannot be written (no space).", "Free some.", "best_model.h5")


def never_end(loaded: LoadedConfig, report: TrialReport) -> None:
    """Until the search is stopped."""
    while not report.shall_stop():
        time.sleep(0.01)


def slowly(loaded: LoadedConfig, report: TrialReport) -> None:
    """As `pretend`, so that others come in between."""
    pretend(loaded, report, seconds=0.1)


def search_with_others(
    config: Path, overrides: tuple[str, ...], url: str, train: Train, barrier: Any
) -> None:
    """A search of a shared study, which gives lost hosts up soon, in a process of its own."""
    import flexseg.models  # noqa: F401 - as the command does

    search = Search(
        load(config, overrides), overrides, 120, backend="none", train=train, storage=url
    )
    assert isinstance(search.place, SharedStudy)
    search.place = replace(search.place, beat=1, patience=3)
    barrier.wait()
    search.run()


def ask_at_once(place: StudyPlace, barrier: Any, numbers: Any) -> None:
    """Ask for the next trial at the same moment as others do."""
    study = open_study(place, maximize=True, startup=1)
    barrier.wait()
    with place.turn():
        numbers.put(study.ask({}).number)
