"""Networks that see neighbouring slices: folders, single files, evaluation, epoch changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.batches.store import CaseReader
from flexseg.dataset.cases import pair
from flexseg.evaluation.image_scores import evaluate_model
from flexseg.files.images import write_png
from flexseg.inference.image_files import infer_images
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.image_outputs import Targets
from flexseg.training.callbacks.epoch_change import EpochChangeInference

GREYS = [0, 30, 60, 240, 240, 60]


@pytest.fixture
def predictor(brightness: Callable[..., Predictor]) -> Predictor:
    """The mean brightness of a slice and its two neighbours, foreground from 100 on."""
    made = brightness((8, 8), threshold=100 / 255, channels=3)
    preprocessing = replace(made.package.preprocessing, neighbours=1)
    return Predictor(replace(made.package, preprocessing=preprocessing))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Slices of 16 x 12 pixels of one volume, in one grey each."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for i, grey in enumerate(GREYS):
        name = f"v_{i:04d}.png"
        write_png(tmp_path / "images" / name, np.full((12, 16), grey, np.uint8))
        labels = np.full((12, 16), grey > 100, np.uint8)
        write_png(tmp_path / "masks" / name, labels)
    return tmp_path / "images"


def foreground(folder: Path) -> dict[str, bool]:
    return {path.stem: bool(np.asarray(Image.open(path)).all()) for path in folder.glob("*.png")}


# Means of three: 10, 30, 110, 180, 180, 120.
EXPECTED = {f"v_{i:04d}": i >= 2 for i in range(6)}


def test_a_folder(predictor: Predictor, images: Path, tmp_path: Path) -> None:
    targets = Targets(tmp_path / "out", tmp_path / "merged", probabilities=tmp_path / "p")
    result = infer_images(predictor, images, targets)
    assert result.failed == {}
    assert foreground(tmp_path / "out") == EXPECTED
    with np.load(tmp_path / "p" / "v_0002.npz") as archive:
        np.testing.assert_allclose(archive["probabilities"], 110 / 255, atol=1e-3)
    overlay = np.asarray(Image.open(tmp_path / "merged" / "v_0001.png"))
    assert overlay.shape == (12, 16, 3)
    assert (overlay == 30).all()  # the middle slice, in grey


def test_one_file_among_its_neighbours(predictor: Predictor, images: Path, tmp_path: Path) -> None:
    infer_images(predictor, images / "v_0002.png", Targets(tmp_path / "out"))
    assert foreground(tmp_path / "out") == {"v_0002": True}


def test_a_lone_file_repeats_itself(
    predictor: Predictor, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = tmp_path / "alone.png"
    alone.write_bytes((images / "v_0002.png").read_bytes())
    infer_images(predictor, alone, Targets(tmp_path / "out"))
    assert foreground(tmp_path / "out") == {"alone": False}
    assert "1 of 1 images have no neighbouring slices" in caplog.text


def test_slices_beside_a_gap_have_no_result(
    predictor: Predictor, images: Path, tmp_path: Path
) -> None:
    (images / "v_0003.png").unlink()
    result = infer_images(predictor, images, Targets(tmp_path / "out"))
    assert set(result.failed) == {"v_0002.png", "v_0004.png"}
    assert "Slice 3 of the volume is missing" in result.failed["v_0002.png"]
    assert set(foreground(tmp_path / "out")) == {"v_0000", "v_0001", "v_0005"}
    summary = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert set(summary["failed"]) == set(result.failed)


def test_evaluation_scores_the_middle_slice(predictor: Predictor, images: Path) -> None:
    cases = pair(images, images.with_name("masks")).cases
    reader = CaseReader(predictor.package.preprocessing, predictor.package.labels)
    scores = evaluate_model(predictor, cases, reader, {})
    pixels = 12 * 16
    found = [matrix.ravel().tolist() for matrix in scores.matrices]
    assert found[1] == [pixels, 0, 0, 0]
    assert found[2] == [0, pixels, 0, 0]  # bright neighbours
    assert found[3] == [0, 0, 0, pixels]


def test_pictures_of_epochs(predictor: Predictor, images: Path, tmp_path: Path) -> None:
    (tmp_path / "epochs").mkdir()
    paths = {path: path.stem for path in sorted(images.iterdir())}
    callback = EpochChangeInference(predictor, paths, tmp_path / "epochs")
    callback.on_epoch_end(0)
    assert foreground(tmp_path / "epochs") == {
        f"Epoch_1_{stem}": found for stem, found in EXPECTED.items()
    }
