"""What is said of predictions, and that it changes none of them."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.dataset.acquisition import InputDoubt
from flexseg.files.images import write_png
from flexseg.inference.image_files import infer_images
from flexseg.inference.model_inputs import ImageInput, model_input
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.image_outputs import Targets
from flexseg.inference.results.prediction_table import Judgement
from flexseg.inference.source_predictor import SourcePredictor
from flexseg.inference.trust.checked_input import InputCheck
from flexseg.inference.trust.conformal import ClassCalibration, ClassQuality, Trust
from flexseg.inference.trust.temperature import scaled
from flexseg.model_file.home_images import HomeImages, image_figures

TRUST = Trust({2: {1: ClassCalibration(1.0, 0.0, 0.5, 30, 0, 0)}}, True, 0.5, 2.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images with a bright corner, and one with a pattern of all brightnesses."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for name in "ab":
        image = rng.integers(0, 30, (16, 16, 3), np.uint8)
        image[:8, :8] += 220
        write_png(tmp_path / "images" / f"{name}.png", image)
    write_png(tmp_path / "images" / "c.png", rng.integers(0, 256, (16, 16, 3), np.uint8))
    return tmp_path


@pytest.fixture
def judging(brightness: Callable[..., Predictor]) -> Predictor:
    """A predictor that knows what its images look like, and how good its predictions are."""
    predictor = brightness((16, 16)).with_postprocessing(["flips"])
    figures = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        image = rng.integers(0, 30, (16, 16, 3), np.uint8)
        image[:8, :8] += 220
        figures.append(image_figures(image))
    home = HomeImages.of(np.array(figures), [str(i) for i in range(30)], figures[0][:0], [])
    predictor.package = replace(predictor.package, home=home)
    return predictor.with_trust(TRUST)


def _table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_the_table_says_it_and_nothing_changes(
    judging: Predictor, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = judging.with_trust(Trust())
    outputs = [(plain, folder / "plain"), (judging, folder / "judged")]
    with caplog.at_level(logging.INFO):
        for predictor, place in outputs:
            infer_images(predictor, folder / "images", Targets(place, probabilities=place / "p"))
    for name in "abc":
        first, second = (Image.open(place / f"{name}.png") for _, place in outputs)
        assert first.tobytes() == second.tobytes()
        p, written = (np.load(place / "p" / f"{name}.npz")["probabilities"] for _, place in outputs)
        expected = scaled(p.astype(np.float32), 2.0)
        np.testing.assert_allclose(written, expected, atol=2e-3)
    told = _table(folder / "judged")
    assert told["a.png"]["flag"] == "green" and told["a.png"]["foreign"] == "no"
    assert told["c.png"]["flag"] != "green" and told["c.png"]["foreign"] == "yes"
    assert 0.8 < float(told["a.png"]["dice_low"]) < float(told["a.png"]["dice"]) <= 1
    assert _table(folder / "plain")["a.png"]["dice"] == ""
    assert "1 of 3 images looks unlike those of the training" in caplog.text


def test_signals_change_no_bit(judging: Predictor) -> None:
    batch = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)
    signals: list[object] = []
    np.testing.assert_array_equal(
        judging.at_model_size(batch), judging.at_model_size(batch, signals.append)
    )
    assert len(signals) == 3


def test_in_memory_the_same_is_said(judging: Predictor, folder: Path) -> None:
    sources = SourcePredictor(judging)
    inputs = [model_input(folder / "images" / f"{name}.png", channels=3) for name in "ac"]
    assert all(isinstance(item, ImageInput) for item in inputs)
    infer_images(judging, folder / "images", Targets(folder / "out"))
    told = _table(folder / "out")
    for name, found in zip("ac", sources.predictions(inputs), strict=True):
        row = told[f"{name}.png"]
        (quality,) = found.quality.values()
        assert quality.dice == pytest.approx(float(row["dice"]), abs=1e-4)
        assert found.flag == row["flag"] and found.foreign == (row["foreign"] == "yes")


def test_foreign_inputs_are_never_green() -> None:
    good = ClassQuality(0.95, 0.9, 1.0, "green")
    assert Judgement({1: good}, InputCheck(0.9)).flag == "green"
    foreign = Judgement({1: good}, InputCheck(1.1))
    assert foreign.flag == foreign.flag_of(1) == "yellow"
    assert Judgement().flag is None and Judgement({}, InputCheck(2.0)).flag == "yellow"
    other = InputCheck(None, (InputDoubt("modality", "the modality MR"),))
    assert Judgement({1: good}, other).flag == "yellow" and other.reasons == ("modality",)
