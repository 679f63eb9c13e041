"""Folders of large images by windows: the files, what is left on errors, and the config."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.files.images import read_image
from flexseg.inference.image_files import infer_images
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.image_outputs import Targets, picture_factor
from flexseg.inference.sliding_window import TiledPredictor

Make = Callable[..., Predictor]
SIZE = (75, 110)


def _blocks(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image whose brightest channel is the class, and its class ids."""
    coarse = np.random.default_rng(3).integers(0, 3, (height // 9 + 1, width // 9 + 1), np.uint8)
    labels = np.kron(coarse, np.ones((9, 9), np.uint8))[:height, :width]
    return (np.eye(3)[labels] * 200 + 20).astype(np.uint8), labels


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(_blocks(*SIZE)[0]).save(folder / "a.png")
    tifffile.imwrite(
        folder / "b.tif", _blocks(90, 64)[0], photometric="rgb", tile=(32, 32), compression="zlib"
    )
    return folder


@pytest.fixture
def tiled(brightest_channel: Make) -> TiledPredictor:
    return TiledPredictor(brightest_channel((16, 24)), overlap=6)


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image)


class TestFiles:
    def test_masks_overlays_and_probabilities(
        self, tiled: TiledPredictor, images: Path, tmp_path: Path
    ) -> None:
        targets = Targets(tmp_path / "m", tmp_path / "o", tmp_path / "c", tmp_path / "p")
        steps: list[tuple[float, int]] = []
        result = infer_images(tiled, images, targets, on_image=lambda *step: steps.append(step))
        assert result.failed == {}
        for name, size in (("a", SIZE), ("b", (90, 64))):
            image, labels = _blocks(*size)
            np.testing.assert_array_equal(_read(tmp_path / "m" / f"{name}.png"), labels)
            overlay = read_image(tmp_path / "o" / f"{name}.png")
            np.testing.assert_array_equal(overlay[labels == 0], image[labels == 0])
            assert (overlay[labels > 0] != image[labels > 0]).any()
            assert read_image(tmp_path / "c" / f"{name}.png").shape == (*size, 3)
            with np.load(tmp_path / "p" / f"{name}.npz") as archive:
                p = archive["probabilities"]
            assert p.shape == (*size, 3) and p.dtype == np.float16
            np.testing.assert_array_equal(p.argmax(axis=-1), labels)
            np.testing.assert_allclose(p.sum(axis=-1, dtype=np.float32), 1, atol=2e-3)
        counts = np.bincount(_blocks(*SIZE)[1].ravel(), minlength=3)
        assert list(result.files["a.png"].values()) == counts.tolist()
        summary = json.loads((tmp_path / "m" / "predictions.json").read_text())
        assert summary["windows"] == {"width": 24, "height": 16, "overlap": 6}
        # Between the images the bar moves too, and never back.
        done = [step for step, total in steps if total == 2]
        assert done == sorted(done) and done[-1] == 2 and len(done) > 6

    def test_large_images_are_the_same_in_tiles(
        self, tiled: TiledPredictor, images: Path, tmp_path: Path
    ) -> None:
        targets = Targets(tmp_path / "m", tmp_path / "o", tmp_path / "c")
        infer_images(tiled, images, targets, large=1)
        names = ["a.tif", "b.tif", "predictions.csv", "predictions.json"]
        assert sorted(p.name for p in (tmp_path / "m").iterdir()) == names
        for name, size in (("a", SIZE), ("b", (90, 64))):
            np.testing.assert_array_equal(_read(tmp_path / "m" / f"{name}.tif"), _blocks(*size)[1])

    def test_earlier_results_move_aside(
        self, tiled: TiledPredictor, images: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "m").mkdir()
        for name in ("b.tif", "other.tif"):
            (tmp_path / "m" / name).write_bytes(b"earlier")
        infer_images(tiled, images, Targets(tmp_path / "m"))
        (backup,) = (tmp_path / "m").glob("b.tif_*_bak")
        assert backup.read_bytes() == b"earlier"
        assert (tmp_path / "m" / "other.tif").read_bytes() == b"earlier"
        first = (tmp_path / "m" / "b.png").read_bytes()
        infer_images(tiled, images, Targets(tmp_path / "m"))
        (backup,) = tmp_path.glob("m_*_bak")
        assert (backup / "b.png").read_bytes() == first

    def test_an_image_that_breaks_off_leaves_nothing(
        self, tiled: TiledPredictor, images: Path, tmp_path: Path
    ) -> None:
        whole = (images / "b.tif").read_bytes()
        (images / "b.tif").write_bytes(whole[:-200])
        targets = Targets(tmp_path / "m", tmp_path / "o", None, tmp_path / "p")
        result = infer_images(tiled, images, targets, large=1)
        assert list(result.files) == ["a.png"] and list(result.failed) == ["b.tif"]
        for folder in targets.folders():
            assert {p.stem for p in folder.iterdir()} <= {"a", "predictions"}

    def test_channels_that_do_not_fit(
        self, tiled: TiledPredictor, images: Path, tmp_path: Path
    ) -> None:
        np.save(images / "five.npy", np.zeros((40, 50, 5), np.uint8))
        result = infer_images(tiled, images, Targets(tmp_path / "m"), large=1)
        assert "5 channels" in result.failed["five.npy"]
        assert sorted(result.files) == ["a.png", "b.tif"]

    def test_labels_are_cleaned_as_a_whole(
        self, brightness: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pixels = np.zeros((40, 60, 3), np.uint8)
        pixels[5:35, 3:40] = 255  # larger than a window
        pixels[20:24, 50:54] = 255
        Image.fromarray(pixels).save(tmp_path / "a.png")
        tiled = TiledPredictor(brightness((16, 16)), overlap=4)
        seen: list[tuple[int, ...]] = []

        def postprocess(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            seen.append(labels.shape)
            cleaned = labels.copy()
            cleaned[:, 45:] = 0
            return cleaned

        monkeypatch.setattr(tiled.predictor, "postprocess", postprocess)
        result = infer_images(tiled, tmp_path / "a.png", Targets(tmp_path / "m"))
        assert seen == [(40, 60)]
        assert result.files["a.png"]["class 1"] == 30 * 37


class TestPictures:
    @pytest.mark.parametrize(
        ("pixels", "factor"), [(1, 1), (25_000_000, 1), (36_000_000, 3), (400_000_000, 10)]
    )
    def test_only_large_ones_are_reduced(self, pixels: int, factor: int) -> None:
        assert picture_factor(pixels) == factor

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int32])
    def test_reduced_overlay(
        self,
        tiled: TiledPredictor,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        dtype: Any,
    ) -> None:
        monkeypatch.setattr("flexseg.inference.results.image_outputs._WHOLE_PICTURE", 1000)
        monkeypatch.setattr(
            "flexseg.inference.results.image_outputs._REDUCED_PICTURE", 75 * 110 / 9
        )
        monkeypatch.setattr("flexseg.inference.results.image_outputs._BLOCK_ROWS", 10)
        image, labels = _blocks(*SIZE)
        np.save(tmp_path / "a.npy", image.astype(dtype))
        targets = Targets(tmp_path / "m", tmp_path / "o", tmp_path / "c")
        infer_images(tiled, tmp_path / "a.npy", targets, large=1)
        overlay = read_image(tmp_path / "o" / "a.png")
        assert overlay.shape == (25, 36, 3)
        # The blocks of 9 become blocks of 3.
        small = labels[1::3, 1::3][:25, :36]
        if dtype == np.uint8:
            np.testing.assert_array_equal(
                overlay[small == 0], image[1::3, 1::3][:, :36][small == 0]
            )
        colors = read_image(tmp_path / "c" / "a.png")
        np.testing.assert_array_equal((colors == (255, 128, 0)).all(axis=-1), small == 2)
