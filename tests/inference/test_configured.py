"""Images, tiles and volumes predicted as a config says."""

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

import flexseg.cli.tiled_infer  # noqa: F401 - adds the command
from flexseg.config.load import LoadedConfig, load
from flexseg.errors import ConfigError, DataError
from flexseg.inference.configured import infer, infer3d, tiled_infer
from flexseg.inference.pictures import viewer
from flexseg.inference.predictor import Predictor
from flexseg.inference.results import volume_outputs
from flexseg.models.package import ModelPackage
from support import flexseg as run_command
from volume_models import SIZE as SLICE
from volume_models import WINDOW, copying, three_volumes

SIZE = (75, 110)
CONFIG = """
[model]
model = "UNet"
image_width = 16
image_height = 16
num_classes = 3
num_layers = 2
base_filters = 4

[train]
precision = "float32"

[infer]
output_dir = "out"
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(3).integers(0, 256, (*SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    tifffile.imwrite(folder / "b.tif", pixels[:, :64], photometric="rgb", tile=(32, 32))
    return folder


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image)


class TestInfer:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(CONFIG, encoding="utf-8")
        return path

    def test_predicts_with_the_trained_weights(self, config: Path, images: Path) -> None:
        loaded = load(config)
        weights = loaded.experiment.train.model_dir / "best_model.h5"
        weights.parent.mkdir()
        package = ModelPackage.create(loaded.experiment)
        package.save(weights, {})
        result = infer(loaded, images)
        assert result.folders[0] == config.parent / "out"
        named = [("a.png", np.asarray(Image.open(images / "a.png")))]
        predictor = Predictor(package)
        ((_, _, p),) = predictor.probabilities(named)
        with Image.open(config.parent / "out" / "a.png") as mask:
            np.testing.assert_array_equal(np.asarray(mask), predictor.labels(p))

    def test_without_weights(self, config: Path, images: Path) -> None:
        with pytest.raises(DataError, match="no such weight file"):
            infer(load(config), images)
        assert not (config.parent / "out").exists()

    def test_without_images(self, config: Path) -> None:
        with pytest.raises(ConfigError, match="nothing to predict"):
            infer(load(config))
        with pytest.raises(ConfigError, match="no such file or folder"):
            infer(load(config), config.parent / "absent")


TILED_CONFIG = """
[model]
model = "UNet"
image_width = 32
image_height = 16
num_classes = {classes}
num_layers = 2
base_filters = 4
{activation}

[train]
precision = "float32"

[infer]
output_dir = "out"
images_dir = "images"
"""


class TestTiledInfer:
    @pytest.fixture
    def loaded(self, tmp_path: Path, images: Path) -> Callable[..., LoadedConfig]:
        """A config with weights."""

        def make(*overrides: str, classes: int = 3) -> LoadedConfig:
            path = tmp_path / "config.toml"
            activation = 'loss = "bce_dice_loss"' if classes == 1 else ""
            text = TILED_CONFIG.format(classes=classes, activation=activation)
            path.write_text(text, encoding="utf-8")
            loaded = load(path, overrides)
            weights = loaded.experiment.train.model_dir / "best_model.h5"
            weights.parent.mkdir(exist_ok=True)
            if not weights.exists():
                ModelPackage.create(loaded.experiment).save(weights, {})
            return loaded

        return make

    def test_images_of_infer_and_folders_of_its_own(
        self, loaded: Callable[..., LoadedConfig], tmp_path: Path
    ) -> None:
        config = loaded("tiledinfer.probabilities=True", "tiledinfer.split_size=40")
        result = tiled_infer(config)
        names = ["predictions_tiled", "predictions_tiled_merged", "predictions_tiled_probabilities"]
        assert [folder.name for folder in result.folders] == names
        summary = json.loads((tmp_path / names[0] / "predictions.json").read_text())
        assert summary["windows"] == {"width": 40, "height": 20, "overlap": 4}
        assert sorted(result.files) == ["a.png", "b.tif"]

    def test_threshold_of_its_own(self, loaded: Callable[..., LoadedConfig]) -> None:
        low = tiled_infer(loaded("tiledinfer.threshold=0", classes=1))
        high = tiled_infer(loaded("tiledinfer.threshold=255", classes=1))
        assert list(low.files["a.png"].values()) == [0, SIZE[0] * SIZE[1]]
        assert list(high.files["a.png"].values()) == [SIZE[0] * SIZE[1], 0]

    def test_errors(self, loaded: Callable[..., LoadedConfig], tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="would share 16 pixels"):
            tiled_infer(loaded("tiledinfer.overlapping=8"))
        with pytest.raises(ConfigError, match="no such file or folder"):
            tiled_infer(loaded(), tmp_path / "absent")
        config = loaded(f"tiledinfer.merged_dir={tmp_path / 'predictions_tiled'}")
        with pytest.raises(ConfigError, match=r"\[tiledinfer\] output_dir and \[tiledinfer\]"):
            tiled_infer(config)
        assert not (tmp_path / "predictions_tiled").exists()

    def test_command(
        self, loaded: Callable[..., LoadedConfig], images: Path, tmp_path: Path
    ) -> None:
        config, source = loaded().path, images / "b.tif"
        assert run_command("tiled-infer", config, "-i", source, "-o", tmp_path / "x") == 0
        assert _read(tmp_path / "x" / "b.png").shape == (75, 64)
        (images / "a.png").write_bytes(b"damaged")
        assert run_command("tiled-infer", config) == 3

    def test_an_old_config_says_what_changed(
        self,
        loaded: Callable[..., LoadedConfig],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        loaded()
        old = tmp_path / "old.config"
        old.write_text(
            '[model]\nmodel = "TensorFlowFlexUNet"\nimage_width = 32\nimage_height = 16\n'
            "num_classes = 3\nnum_layers = 2\nbase_filters = 4\n[train]\n"
            'model_dir = "./models"\n[tiledinfer]\nimages_dir = "./images"\n'
            'output_dir = "./tiles"\nsplit_size = 64\noverlapping = 4\nbitwise_blending = True\n'
        )
        config = load(old)
        codes = [finding.code for finding in config.findings]
        assert "tiledinfer-changes" in codes and "dead-key" in codes
        with caplog.at_level("INFO", logger="flexseg"):
            result = tiled_infer(config)
        assert "The originals squeeze" in caplog.text
        assert result.folders[0] == tmp_path / "tiles"
        assert _read(tmp_path / "tiles" / "a.png").shape == SIZE


class TestInfer3d:
    @pytest.fixture
    def write(self, tmp_path: Path) -> Callable[[str], Path]:
        def make(text: str) -> Path:
            path = tmp_path / "c.toml"
            path.write_text(text)
            return path

        return make

    @pytest.fixture
    def volumes(self, tmp_path: Path) -> Path:
        return three_volumes(tmp_path / "volumes")

    @pytest.mark.usefixtures("niivue_bundle")
    def test_run_of_a_config(
        self, write: Callable[[str], Path], volumes: Path, monkeypatch: Any
    ) -> None:
        predictor = copying(SLICE, intensity=WINDOW)
        monkeypatch.setattr("flexseg.inference.configured.make_predictor", lambda loaded: predictor)
        path = write('[infer3d]\nimages_dir = "volumes"\n')
        result = infer3d(load(path))
        assert result.folders[0] == path.parent / "predictions_3d"
        assert sorted(p.name for p in (result.folders[0] / "previews").iterdir()) == [
            "a.html", "a.png", "b.html", "b.png", "c.html", "c.png",
        ]  # fmt: skip
        seen: list[tuple[float, int]] = []
        infer3d(
            load(path), volumes / "a.nii.gz", path.parent / "o", on_volume=lambda *x: seen.append(x)
        )
        assert seen == [(0.25, 1), (0.5, 1), (0.75, 1), (1, 1), (1, 1)]
        assert (path.parent / "o" / "labels" / "a.nii.gz").exists()

    def test_installation_without_the_viewers_library(
        self,
        write: Callable[[str], Path],
        volumes: Path,
        monkeypatch: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It costs the viewer alone, and is told once."""
        predictor = copying(SLICE, intensity=WINDOW)
        monkeypatch.setattr("flexseg.inference.configured.make_predictor", lambda loaded: predictor)
        monkeypatch.setattr(viewer, "NIIVUE", volumes / "absent.js")
        volume_outputs.has_viewer.cache_clear()
        result = infer3d(load(write('[infer3d]\nimages_dir = "volumes"\n')))
        volume_outputs.has_viewer.cache_clear()
        assert sorted(p.name for p in (result.folders[0] / "previews").iterdir()) == [
            "a.png", "b.png", "c.png",
        ]  # fmt: skip
        assert [r for r in caplog.messages if "NiiVue" in r] == [str(viewer.niivue_problem())]
        assert "tools/browser_libraries.py" in caplog.text

    def test_nothing_to_predict(
        self, write: Callable[[str], Path], tmp_path: Path, monkeypatch: Any
    ) -> None:
        loaded = load(write("[infer3d]\n"))
        predictor = copying(SLICE, intensity=WINDOW)
        monkeypatch.setattr("flexseg.inference.configured.make_predictor", lambda loaded: predictor)
        with pytest.raises(ConfigError, match="nothing to predict"):
            infer3d(loaded)
        with pytest.raises(ConfigError, match="no such file or folder"):
            infer3d(loaded, tmp_path / "none")
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="no volume"):
            infer3d(loaded, tmp_path / "empty")
