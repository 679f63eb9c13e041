"""Inputs of another kind, told from the outside: of files that a network of photographs gets."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.dataset.acquisition import Acquisition
from flexseg.dataset.cases import pair
from flexseg.evaluation.image_scores import evaluate_model
from flexseg.files.images import write_png
from flexseg.inference.image_files import infer_images
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.image_outputs import Targets
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.model_file.home_images import HomeImages, image_figures
from synthetic_volumes import write_series


def photograph(seed: int) -> NDArray[np.uint8]:
    """Colours around violet, with some texture."""
    rng = np.random.default_rng(seed)
    base = np.array([180, 90, 200]) + rng.normal(0, 6, 3)
    coarse = cv2.resize(rng.normal(0, 30, (6, 6, 3)), (24, 24))
    return np.clip(base + coarse, 0, 255).astype(np.uint8)


@pytest.fixture
def photographs(brightest_channel: Callable[..., Predictor]) -> Predictor:
    """A predictor that knows photographs of 8 bits, as its training has seen them."""
    predictor = brightest_channel((24, 24))
    figures = np.array([image_figures(photograph(seed)) for seed in range(40)])
    home = HomeImages.of(figures, [str(i) for i in range(40)], figures[:0], [])
    known = Acquisition((24, 24), (24, 24), (), ("XC",))
    predictor.package = replace(predictor.package, home=home, acquisition=known)
    return predictor


def told(predictor: Predictor, folder: Path) -> dict[str, dict[str, str]]:
    """File -> its row of the table."""
    infer_images(predictor, folder / "images", Targets(folder / "out"))
    with (folder / "out/predictions.csv").open(encoding="utf-8-sig") as table:
        return {row["case"]: row for row in csv.DictReader(table)}


def test_grey_deep_and_large_images_are_foreign_to_photographs(
    photographs: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("pydicom")
    images = tmp_path / "images"
    images.mkdir()
    write_png(images / "home.png", photograph(99))
    grey = photograph(99).mean(axis=-1)
    (path,) = write_series(tmp_path / "made", (grey * 16).astype(np.int16)[None], "P")
    path.rename(images / "twelve.dcm")
    cv2.imwrite(str(images / "sixteen.png"), (grey * 257).astype(np.uint16))
    deep = (photograph(99).astype(np.uint16)) * 16
    tifffile.imwrite(images / "faint.tif", deep, photometric="rgb")
    write_png(images / "large.png", cv2.resize(photograph(99), (60, 60)))
    with caplog.at_level(logging.WARNING):
        rows = told(photographs, tmp_path)
    assert {name: row["foreign"] for name, row in rows.items() if row["class_id"] == "2"} == {
        "home.png": "no", "twelve.dcm": "yes", "sixteen.png": "yes", "faint.tif": "yes",
        "large.png": "yes",
    }  # fmt: skip
    assert rows["home.png"]["why"] == ""
    assert rows["twelve.dcm"]["why"] == "looks, values, modality"
    assert rows["sixteen.png"]["why"] == "looks"
    assert rows["faint.tif"]["why"] == "looks, values"
    assert "size" in rows["large.png"]["why"]
    assert "60 x 60 pixels instead of 24 x 24 as in training: large.png" in caplog.text
    assert "the modality CT instead of XC as in training: twelve.dcm" in caplog.text
    assert "values that reach 14" in caplog.text or "values that reach 15" in caplog.text
    assert "next to nothing" not in caplog.text, "each image is standardised"


def test_values_are_no_doubt_where_the_training_had_such(
    photographs: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Floats from 0 to 1, which this network was trained on."""
    floats = [photograph(seed).astype(np.float32) / 255 for seed in range(40)]
    figures = np.array([image_figures(image) for image in floats])
    home = HomeImages.of(figures, [str(i) for i in range(40)], figures[:0], [])
    config = photographs.package.config.model_copy(update={"input_normalize": False})
    photographs.package = replace(photographs.package, home=home, config=config)
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "a.npy", photograph(99).astype(np.float32) / 255)
    with caplog.at_level(logging.WARNING):
        assert told(photographs, tmp_path)["a.npy"]["foreign"] == "no"
    assert not caplog.text
    photographs.package = replace(photographs.package, home=None)
    with caplog.at_level(logging.WARNING):
        assert told(photographs, tmp_path)["a.npy"]["why"] == "values"
    assert "next to nothing: a.npy" in caplog.text


@pytest.mark.parametrize("tiled", [False, True])
def test_evaluations_name_foreign_images_whole_or_seen_by_windows(
    photographs: Predictor, tmp_path: Path, tiled: bool
) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder in (images, masks):
        folder.mkdir()
    grey = photograph(99).mean(axis=-1, keepdims=True).astype(np.uint8).repeat(3, axis=-1)
    for name, image in (("home.png", photograph(99)), ("grey.png", grey)):
        write_png(images / name, image)
        write_png(masks / name, np.zeros((24, 24), np.uint8))
    package = photographs.package
    reader = CaseReader(package.preprocessing, package.labels)
    seeing = TiledPredictor(photographs, overlap=4) if tiled else photographs
    scores = evaluate_model(seeing, pair(images, masks).cases, reader, {})
    checks = {
        case.id: result.judgement.input
        for case, result in zip(scores.cases, scores.results, strict=True)
        if result.judgement is not None
    }
    assert {name: check.unlike for name, check in checks.items()} == {"grey": True, "home": False}
