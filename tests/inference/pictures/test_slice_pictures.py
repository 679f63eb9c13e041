"""Pictures of slices, masks and overlays, and their videos, as the original systems write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

from flexseg.config.infer import Infer3dConfig, PostprocessConfig
from flexseg.files.display import shown_color
from flexseg.files.volumes.read import read_labels, read_volume
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.volumes.volume_files import infer_volumes
from flexseg.inference.volumes.volume_predictor import VolumePredictor, to_own_range
from flexseg.inference.volumes.volume_sources import volume_cases
from volume_models import SIZE, copying, predict, three_volumes

# The keys of the original systems.
OLD: dict[str, Any] = {
    "slice_shape_order": "hwd",
    "slice_normalize": True,
    "slice_resize": (12, 10),
    "slice_rotation": "cv2.ROTATE_90_CLOCKWISE",
    "slices": True,
}


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    return three_volumes(tmp_path / "volumes")


class TestOldWay:
    """Slices as the original systems write them (slice_shape_order and its company)."""

    def expected(self, path: Path) -> list[NDArray[np.uint8]]:
        """What the original program makes of a NIfTI file, by its formulas."""
        xyz = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose(2, 1, 0)
        slices = []
        for i in range(xyz.shape[2]):
            pixels = cv2.rotate(to_own_range(xyz[:, :, i]), cv2.ROTATE_90_CLOCKWISE)
            slices.append(cv2.resize(pixels, (12, 10)))
        return slices

    def test_files(self, volumes: Path, tmp_path: Path) -> None:
        predict(volumes / "a.nii.gz", tmp_path / "out", (10, 12), **OLD)
        folder = tmp_path / "out" / "a.nii.gz"
        names = ["10001.png", "10002.png", "10003.png", "10004.png"]
        for kind in ("slices", "masks", "overlays"):
            assert sorted(p.name for p in (folder / kind).iterdir()) == names
        for name, pixels in zip(names, self.expected(volumes / "a.nii.gz"), strict=True):
            with Image.open(folder / "slices" / name) as image:
                assert image.mode == "L"
                np.testing.assert_array_equal(np.asarray(image), pixels)
            with Image.open(folder / "masks" / name) as image:
                assert image.mode == "P"
                np.testing.assert_array_equal(np.asarray(image), pixels > 127)

    def test_label_volume_undoes_rotation_and_resize(self, volumes: Path, tmp_path: Path) -> None:
        keys = OLD | {"slice_resize": None}
        predict(volumes / "a.nii.gz", tmp_path / "out", SIZE, **keys)
        labels = read_labels(tmp_path / "out" / "labels" / "a.nii.gz")
        array = read_volume(volumes / "a.nii.gz").array
        expected = [to_own_range(plane) > 127 for plane in array]
        np.testing.assert_array_equal(labels.array, expected)
        assert labels.orientation == "LPS"

    def test_weights_of_overlays(self, volumes: Path, tmp_path: Path) -> None:
        weights = {"overlay_alpha": 0.25, "overlay_beta": 0.5, "overlay_gamma": 10}
        predict(volumes / "a.nii.gz", tmp_path / "out", (10, 12), **OLD, **weights)
        folder = tmp_path / "out" / "a.nii.gz"
        pixels = self.expected(volumes / "a.nii.gz")[0][..., None].astype(float)
        color = shown_color(copying((1, 1)).package.labels.foreground[0].colors[0], 1)
        mixed = np.rint(np.clip(0.25 * pixels + 0.5 * np.array(color) + 10, 0, 255))
        with Image.open(folder / "overlays" / "10001.png") as image:
            found = np.asarray(image)
        expected = np.where(pixels > 127, mixed, np.repeat(pixels, 3, axis=-1))
        np.testing.assert_array_equal(found, expected)

    def test_no_overlays(self, volumes: Path, tmp_path: Path, caplog: Any) -> None:
        video = {"video_dir": tmp_path / "videos"}
        predict(volumes / "a.nii.gz", tmp_path / "out", **OLD, mask_overlay=False, **video)
        assert not (tmp_path / "out" / "a.nii.gz" / "overlays").exists()
        assert "no overlays are written" in caplog.text

    def test_postprocessing_shows_in_masks(self, volumes: Path, tmp_path: Path) -> None:
        config = Infer3dConfig(output_dir=tmp_path / "out", previews=[], **OLD)
        predictor = copying((10, 12))
        predictor.postprocessing[3] = Postprocessing.from_config(
            PostprocessConfig(min_size=1000), predictor.package.labels
        )
        cases = volume_cases(volumes / "a.nii.gz", tmp_path / "out")
        infer_volumes(VolumePredictor(predictor, config), cases)
        with Image.open(tmp_path / "out" / "a.nii.gz" / "masks" / "10001.png") as image:
            assert not np.asarray(image).any()

    @pytest.mark.parametrize("suffix", [".mp4", ".gif"])
    def test_a_video_per_volume(self, volumes: Path, tmp_path: Path, suffix: Any) -> None:
        video = {"video_dir": tmp_path / "videos", "video_fileformat": suffix}
        predict(volumes, tmp_path / "out", (10, 12), **(OLD | {"slice_resize": (64, 48)}), **video)
        names = sorted(p.name for p in (tmp_path / "videos").iterdir())
        assert names == [f"{n}_overlays{suffix}" for n in ("a.nii.gz", "b.mha", "c.nrrd")]

    def test_slices_the_new_way(self, volumes: Path, tmp_path: Path) -> None:
        predict(volumes / "b.mha", tmp_path / "out", slices=True)
        folder = tmp_path / "out" / "b.mha"
        lps = sitk.DICOMOrient(sitk.ReadImage(str(volumes / "b.mha")), "LPS")
        with Image.open(folder / "masks" / "10002.png") as image:
            np.testing.assert_array_equal(np.asarray(image), sitk.GetArrayFromImage(lps)[1] > 0)
