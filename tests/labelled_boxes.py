"""Small label images of boxes, and the config of their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config_parts import labels_of
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.evaluation.case_scores import CaseScores

CLASSES = [
    {"id": 0, "name": "background", "color": (0, 0, 0)},
    {"id": 1, "name": "disc", "color": (0, 255, 0)},
    {"id": 2, "name": "square", "color": (255, 0, 0)},
]
SIZE = (20, 30)


def experiment(classes: int = 3, **sections: Any) -> Experiment:
    height, width = SIZE
    mask = {"classes": CLASSES[:classes]} if classes > 1 else {}
    model = {"num_classes": classes, "image_width": width, "image_height": height}
    return Experiment.model_validate({"model": model, "mask": mask, **sections})


def boxes(**boxes: tuple[int, int]) -> NDArray[np.uint8]:
    """Class 1 or 2 in a 10 x 10 box from (row, column); keys `c1`, `c2`."""
    labels = np.zeros(SIZE, np.uint8)
    for key, (row, column) in boxes.items():
        labels[row : row + 10, column : column + 10] = int(key[1:])
    return labels


def a_case(name: str, group: str | None = None) -> Case:
    return Case(name, Path(f"{name}.png"), Path(f"{name}.png"), group or name)


def sample_scores() -> CaseScores:
    """Four cases: class 1 scored .5, missed, absent, scored 1; class 2 only a false positive."""
    result = CaseScores(labels_of(experiment()))
    result.add(a_case("a"), boxes(c1=(0, 0)), boxes(c1=(0, 5)))
    result.add(a_case("b"), boxes(c1=(0, 0)), boxes())
    result.add(a_case("c"), boxes(), boxes(c2=(3, 3)))
    result.add(a_case("d"), boxes(c1=(5, 5)), boxes(c1=(5, 5)))
    return result
