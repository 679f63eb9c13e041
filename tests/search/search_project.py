"""A project whose config is searched."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from flexseg.config import load
from flexseg.search.space import metric_of, parameters_of
from flexseg.search.study_places import StudyFile
from flexseg.search.trials import TrialJob

CONFIG = """
[model]
image_width = 48
image_height = 40
num_classes = 2
num_layers = 3
base_filters = 4
learning_rate = 0.01
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
epochs = 2
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""


SPACE = """
[tune]
startup = 3
trial_minutes = 0.01
[tune.space]
model.learning_rate = { low = 0.001, high = 0.1, log = true }
model.base_filters = [4, 8]
"""


def job_of(project: Path, *overrides: str, **changes: Any) -> TrialJob:
    loaded = load(project / "a.toml", overrides)
    metric, maximize = metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics)
    folder = loaded.experiment.train.run_dir / "tune"
    folder.mkdir(parents=True, exist_ok=True)
    keys: dict[str, Any] = {
        "config": loaded.path,
        "overrides": overrides,
        "place": StudyFile(changes.get("folder", folder)),
        "folder": folder,
        "host": "",
        "search": "",
        "backend": None,
        "parameters": parameters_of(loaded, overrides, metric),
        "metric": metric,
        "maximize": maximize,
        "minutes": 1.0,
        "deadline": time.time() + 3600,
        "limit": 4,
        "startup": 3,
        "prune": True,
        "seed": 1,
        "processes": 1,
    }
    return TrialJob(**{**keys, **changes})


class Stop:
    """An event that can be set at a given moment."""

    def __init__(self) -> None:
        self.value = False

    def is_set(self) -> bool:
        return self.value
