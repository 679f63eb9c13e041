"""Predictions as arrays, and as files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import ConfigError
from flexseg.files.volumes.read import read_volume
from flexseg.inference.results.prediction import Prediction
from volume_models import oblique

LABELS = LabelMap(
    (
        LabelClass(0, "background", ((0, 0, 0),)),
        LabelClass(1, "disc", ((0, 255, 0),)),
        LabelClass(2, "square", ((255, 0, 0),)),
    ),
    binary=False,
)


class TestOfAnImage:
    @pytest.fixture
    def found(self) -> Prediction:
        labels = np.random.default_rng(0).integers(0, 3, (20, 30), np.uint8)
        return Prediction(labels, LABELS, (0.5, 0.5))

    def test_is_an_array(self, found: Prediction) -> None:
        assert found.shape == (20, 30) and found.ndim == 2 and len(found) == 20
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found[3:5, 1], found.labels[3:5, 1])
        assert np.asarray(found) is found.labels
        assert np.array(found, np.float32).dtype == np.float32
        np.testing.assert_array_equal(found == 2, found.labels == 2)
        np.testing.assert_array_equal(found + 1, found.labels + 1)
        assert found.pixels_per_class == {
            name: int((found.labels == i).sum())
            for i, name in enumerate(("background", "disc", "square"))
        }

    def test_knows_classes_and_spacing(self, found: Prediction) -> None:
        assert [c.name for c in found.classes] == ["background", "disc", "square"]
        assert found.spacing == (0.5, 0.5)
        assert repr(found).startswith("Prediction('array', 20 x 30: disc ")
        with Image.open(io.BytesIO(found._repr_png_())) as image:
            assert image.size == (30, 20)

    def test_saved_as_png_and_npy(self, found: Prediction, tmp_path: Path) -> None:
        path = found.save(tmp_path / "new" / "m.png")
        with Image.open(path) as image:
            assert image.getpalette()[:9] == [0, 0, 0, 0, 255, 0, 255, 0, 0]
            np.testing.assert_array_equal(np.asarray(image), found.labels)
        np.testing.assert_array_equal(np.load(found.save(str(tmp_path / "m.npy"))), found.labels)

    def test_nothing_is_overwritten(self, found: Prediction, tmp_path: Path) -> None:
        (tmp_path / "m.png").write_text("mine")
        found.save(tmp_path / "m.png")
        (earlier,) = tmp_path.glob("m.png_*_bak")
        assert earlier.read_text() == "mine"

    @pytest.mark.parametrize("name", ["m.jpg", "m.nii.gz", "m"])
    def test_other_formats(self, found: Prediction, tmp_path: Path, name: str) -> None:
        with pytest.raises(ConfigError, match=r"Choose \.png, \.npy"):
            found.save(tmp_path / name)


class TestOfAVolume:
    @pytest.fixture
    def found(self) -> Prediction:
        volume = oblique((4, 5, 6), "RAS")
        labels = (volume.array > 0).astype(np.uint8)
        labels[2] = 2
        return Prediction(labels, LABELS, volume.voxel_size, geometry=volume.with_array(labels))

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".h5"])
    def test_saved_with_the_geometry(self, found: Prediction, tmp_path: Path, suffix: str) -> None:
        saved = read_volume(found.save(tmp_path / f"v{suffix}"))
        np.testing.assert_array_equal(saved.array, found.labels)
        assert saved.array.dtype == np.uint8
        assert found.geometry is not None
        np.testing.assert_allclose(saved.affine, found.geometry.affine, atol=1e-4)

    def test_saved_as_npy(self, found: Prediction, tmp_path: Path) -> None:
        np.testing.assert_array_equal(np.load(found.save(tmp_path / "v.npy")), found.labels)

    def test_is_no_picture(self, found: Prediction, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"volumes cannot be written as \.png.*\.nii\.gz"):
            found.save(tmp_path / "v.png")
        assert not list(tmp_path.iterdir())

    def test_is_shown_by_its_fullest_slice(self, found: Prediction) -> None:
        with Image.open(io.BytesIO(found._repr_png_())) as image:
            assert image.size == (6, 5)
            assert (np.asarray(image) == (255, 0, 0)).all()
        assert found.pixels_per_class["square"] == 30
