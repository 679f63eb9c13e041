"""Batches of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from config_parts import labels_of
from flexseg.batches.store import CaseReader
from flexseg.config.schema import Experiment
from flexseg.dataset.division.config_splits import find_splits
from flexseg.errors import DataError
from flexseg.files.images import write_png
from flexseg.files.preprocess import Preprocessing
from flexseg.model_file.contrast import deviations
from flexseg.model_file.home_images import image_figures
from flexseg.training.inputs import InputPipeline

MODEL = {"model": "UNet", "image_width": 16, "image_height": 16, "num_layers": 2,
         "base_filters": 4, "num_classes": 3}  # fmt: skip
CLASSES = [{"id": 1, "color": [0, 255, 0]}, {"id": 2, "color": [255, 0, 0]}]


@pytest.fixture
def pipeline(tmp_path: Path, make_dataset: Callable[..., Path]) -> Callable[..., InputPipeline]:
    """Makes the batches of eight cases, of which two show a second class."""
    train = make_dataset() / "train"
    for path in sorted((train / "masks").iterdir())[2:4]:
        labels = np.zeros((40, 48), np.uint8)
        labels[10:30, 10:30] = 2
        write_png(path, labels, [0, 0, 0, 0, 255, 0, 255, 0, 0])

    def make(model: dict[str, Any] | None = None, **keys: Any) -> InputPipeline:
        folders = {"images_dir": train / "images", "masks_dir": train / "masks"}
        experiment = Experiment.model_validate(
            {
                "model": MODEL | (model or {}),
                "train": folders | {"model_dir": tmp_path} | keys,
                "mask": {"classes": CLASSES},
            }
        )
        splits = find_splits(experiment.data, only=("train",))
        cases = {"train": splits.cases["train"] + splits.cases["valid"]}
        preprocessing = Preprocessing.from_config(
            experiment.model, experiment.image, experiment.volume
        )
        reader = CaseReader(preprocessing, labels_of(experiment))
        drawn = experiment.model.generator
        return InputPipeline(cases, reader, experiment.train, experiment.dataset, drawn=drawn)

    return make


@pytest.mark.parametrize(
    ("keys", "batches"),
    [({}, 4), ({"epoch_steps": 7}, 7), ({"steps_per_epoch": 7}, 4)],
)
def test_steps_of_an_epoch(
    pipeline: Callable[..., InputPipeline], keys: dict[str, int], batches: int
) -> None:
    made = pipeline(**keys)
    assert len(made.batches_of(2)[0].plan) == batches
    made.close()


def test_random_batches_have_their_own_number_unless_told(
    pipeline: Callable[..., InputPipeline],
) -> None:
    for keys, steps in (({"steps_per_epoch": 9}, 9), ({"epoch_steps": 3}, 3)):
        made = pipeline({"generator": True}, **keys)
        assert made.steps == len(made.batches_of(2)[0].plan) == steps
        made.close()


def test_rare_classes_come_as_often_as_others(pipeline: Callable[..., InputPipeline]) -> None:
    made = pipeline(oversample=1.0, epoch_steps=100)
    of_one, of_two = made.by_class
    assert len(of_two) == 2 and not set(of_one) & set(of_two)
    plan = made.batches_of(4)[0].plan
    drawn = [i for batch in range(100) for i in plan.indices(0, batch)]
    assert 0.4 < np.mean([i in of_two for i in drawn]) < 0.6
    made.close()


@pytest.mark.parametrize("patches", [None, 1.0])
def test_what_the_images_look_like(
    pipeline: Callable[..., InputPipeline], patches: float | None
) -> None:
    made = pipeline()
    store = made.stores["train"]
    preprocessing = replace(store.reader.preprocessing, patch_scale=patches)
    store.reader = replace(store.reader, preprocessing=preprocessing)
    home = made.home_images()
    assert home is not None
    assert home.distances(home.centre[None]) == pytest.approx(0)
    assert home.strangeness([image_figures(np.full((16, 16, 3), 255, np.uint8))]) > 1
    shown = store[0][0]
    for count in (1, 3):
        least = made.least_contrast(count)
        assert len(least) == count
        assert 0 < max(least) < 2 * deviations(shown, 1)[0]
    assert made.least_contrast(0) == ()
    made.close()


def test_a_damaged_mask_is_told_when_batches_are_made(
    pipeline: Callable[..., InputPipeline], tmp_path: Path
) -> None:
    made = pipeline(oversample=0.5)
    made.stores["train"].cases[0].mask.write_bytes(b"damaged")
    with pytest.raises(DataError):
        made.batches_of(2)
    made.close()
