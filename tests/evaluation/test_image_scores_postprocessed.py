"""Evaluation scores what a user gets: labels after postprocessing, probabilities as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from config_parts import labels_of, preprocessing_of
from flexseg.batches.store import CaseReader
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case, pair
from flexseg.evaluation.case_scores import CaseScores
from flexseg.evaluation.image_scores import evaluate_model
from flexseg.files.images import write_png
from flexseg.inference.postprocess import Postprocessing, Steps
from flexseg.inference.predictor import Predictor
from flexseg.models.package import ModelPackage

Evaluate = Callable[..., tuple[CaseScores, dict[str, NDArray[np.uint8]]]]


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    """Scores and predictions of a network that sees the object, and a speck that is none."""
    mask = np.zeros((24, 24), np.uint8)
    mask[4:14, 4:14] = 1
    image = 200 * mask
    image[18:20, 18:20] = 180
    for kind, pixels in (("images", image), ("masks", mask)):
        (tmp_path / kind).mkdir()
        write_png(
            tmp_path / kind / "a.png", pixels, [0, 0, 0, 255, 0, 0] if kind == "masks" else None
        )
    experiment = Experiment.model_validate(
        {
            "model": {
                "num_classes": 1,
                "image_width": 24,
                "image_height": 24,
                "image_channels": 1,
            },
            "mask": {"classes": [{"id": 1, "name": "lesion", "color": [255, 0, 0]}]},
        }
    )
    inputs = keras.Input((24, 24, 1))
    layer = keras.layers.Conv2D(1, 1)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.full((1, 1, 1, 1), 1 / 255, np.float32), np.zeros(1, np.float32)])
    labels = labels_of(experiment)
    preprocessing = preprocessing_of(experiment)
    predictor = Predictor(ModelPackage(experiment.model, labels, preprocessing, model=model))
    cases = pair(tmp_path / "images", tmp_path / "masks").cases

    def run(**treatment: object) -> tuple[CaseScores, dict[str, NDArray[np.uint8]]]:
        kept: dict[str, NDArray[np.uint8]] = {}

        def keep(case: Case, prediction: NDArray[np.uint8]) -> None:
            kept[case.id] = prediction

        treated = predictor.with_postprocessing(**treatment)  # type: ignore[arg-type]
        reader = CaseReader(preprocessing, labels)
        return evaluate_model(treated, cases, reader, {}, keep=keep), kept

    return run


DROPS = Postprocessing({1: Steps(largest_component=True)})


def test_labels_are_scored_after_postprocessing(evaluate: Evaluate) -> None:
    plain, kept = evaluate()
    assert plain.results[0].classes[0].values["dice"] == pytest.approx(200 / 204)
    assert kept["a"].sum() == 104
    clean, kept = evaluate(postprocessing={2: DROPS})
    assert clean.results[0].classes[0].values["dice"] == 1
    assert kept["a"].sum() == 100
    assert clean.results[0].classes[0].lesions.false == 0


def test_calibration_is_that_of_the_network(evaluate: Evaluate) -> None:
    plain, _ = evaluate()
    clean, _ = evaluate(postprocessing={2: DROPS})
    a, b = plain.calibration, clean.calibration
    assert a is not None and b is not None
    assert (a.ece, a.brier) == (b.ece, b.brier)
    of_class, of_clean = (scores.results[0].classes[0].values for scores in (plain, clean))
    assert (of_class["ece"], of_class["brier"]) == (of_clean["ece"], of_clean["brier"])


def test_what_is_for_volumes_does_not_touch_images(evaluate: Evaluate) -> None:
    scores, _ = evaluate(postprocessing={3: DROPS})
    assert scores.results[0].classes[0].values["dice"] < 1


def test_the_summary_says_what_was_done(evaluate: Evaluate) -> None:
    scores, _ = evaluate(tta=["hflip"], postprocessing={2: DROPS}, chosen_on={"split": "valid"})
    assert scores.summary(10).as_dict()["inference"] == {
        "engine": "keras float32",
        "threshold": 0.5,
        "tta": ["hflip"],
        "postprocess": {"2d": {"lesion": {"largest_component": True}}},
        "chosen_on": {"split": "valid"},
    }
