"""Slices of volumes through a network and back: where every voxel's label lands."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from flexseg.config.infer import Infer3dConfig
from flexseg.errors import DataError
from flexseg.files.volumes.volume import Volume
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.volumes.volume_predictor import (
    StoredAxis,
    VolumePredictor,
    reads_xyz,
    to_own_range,
)
from volume_models import ORIENTATIONS, WINDOW, copying, noise, oblique


class TestGeometry:
    def test_of_all_orientations(self) -> None:
        assert len(set(ORIENTATIONS)) == 48

    @pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal", "0", "1", "2"])
    def test_labels_overlay_the_input_voxel_for_voxel(self, axis: str) -> None:
        shape = (4, 5, 6)
        for i, orientation in enumerate(ORIENTATIONS):
            volume = oblique(shape, orientation)
            assert volume.orientation == orientation
            rotate = 90 * (i % 4)
            predictor = copying((1, 1), axis=axis, rotate=rotate, intensity=WINDOW)
            [cut] = VolumePredictor(predictor).cuts()
            size = cut.slice_view(volume.array, orientation).shape[1:]
            predictor = copying(size, axis=axis, rotate=rotate, intensity=WINDOW)
            labels = VolumePredictor(predictor).labels(volume)
            assert labels.dtype == np.uint8
            np.testing.assert_array_equal(labels, volume.array > 0)

    def test_network_sees_slices_upright(self) -> None:
        """The patient's right at the left of the picture, anterior at the top."""
        lps = oblique((4, 5, 6))
        expected = [np.clip((s - (-1000.0)) / 2001 * 255, 0, 255) for s in lps.array]
        for orientation in ("LPS", "RAS", "SAR", "PIL"):
            volume = Volume.from_image(sitk.DICOMOrient(lps.image(), orientation))
            predictor = copying((5, 6), axis="axial", intensity=WINDOW)
            VolumePredictor(predictor).labels(volume)
            seen = np.concatenate(predictor.batches)[:4, ..., 0]
            np.testing.assert_allclose(seen, expected, atol=1)

    def test_mean_of_three_axes(self) -> None:
        for orientation in ("LPS", "RIA", "ASL"):
            volume = oblique((6, 6, 6), orientation)
            predictor = copying((6, 6), intensity=WINDOW, axes=["axial", "coronal", "sagittal"])
            averaging = VolumePredictor(predictor, Infer3dConfig(average_axes=True))
            np.testing.assert_array_equal(averaging.labels(volume), volume.array > 0)
            p = averaging.predict(volume, keep=True).probabilities
            assert p is not None
            np.testing.assert_allclose(p[..., 0], (volume.array + 1000) / 2001, atol=4e-3)
            assert not averaging.untrained_axes()

    def test_mean_probabilities_beyond_the_memory_go_into_a_file(self, tmp_path: Path) -> None:
        volume = oblique((6, 6, 6))
        predictor = copying((6, 6), intensity=WINDOW)
        config = Infer3dConfig(average_axes=True, memory_gb=0)
        p = VolumePredictor(predictor, config).predict(volume, folder=tmp_path).probabilities
        assert isinstance(p, np.memmap)
        config = Infer3dConfig(average_axes=True)
        held = VolumePredictor(predictor, config).predict(volume).probabilities
        assert held is not None
        assert not isinstance(held, np.memmap)
        np.testing.assert_array_equal(p, held)
        del p
        assert not list(tmp_path.iterdir())

    def test_axes_that_were_not_trained(self) -> None:
        averaging = VolumePredictor(copying((6, 6)), Infer3dConfig(average_axes=True))
        assert averaging.untrained_axes() == ["coronal", "sagittal"]

    def test_slices_of_another_size_than_the_network(self) -> None:
        volume = Volume(np.kron(noise((3, 4, 6)), np.ones((1, 8, 8), np.int16)))
        labels = VolumePredictor(copying((16, 24), intensity=WINDOW)).labels(volume)
        wrong = (labels != (volume.array > 0)).mean()
        assert labels.shape == volume.shape
        assert wrong < 0.25  # along the edges of the squares only
        inside = labels[:, 3::8, 3::8]
        np.testing.assert_array_equal(inside, volume.array[:, 3::8, 3::8] > 0)

    def test_by_windows_at_native_scale(self) -> None:
        volume = oblique((3, 21, 34), "LAS")
        predictor = copying((16, 16), intensity=WINDOW)
        tiled = VolumePredictor(
            predictor, Infer3dConfig(tiled=True), TiledPredictor(predictor, overlap=4)
        )
        np.testing.assert_array_equal(tiled.labels(volume), volume.array > 0)

    def test_labels_do_not_depend_on_keeping_probabilities(self) -> None:
        volume = oblique((4, 5, 6))
        predictor = VolumePredictor(copying((5, 6), intensity="0/200000"))  # many close to one half
        kept = predictor.predict(volume, keep=True)
        np.testing.assert_array_equal(kept.labels, predictor.labels(volume))
        assert predictor.predict(volume).probabilities is None


class TestStoredAxis:
    """The order of axes of the original systems."""

    def test_nifti_is_x_y_z(self) -> None:
        array = noise((4, 5, 6))
        xyz = array.transpose(2, 1, 0)  # what nibabel reads
        slices = StoredAxis("hwd", xyz=True).slice_view(array, "RAS")
        np.testing.assert_array_equal(slices[3], xyz[:, :, 3])
        slices = StoredAxis("dhw", xyz=True).slice_view(array, "RAS")
        np.testing.assert_array_equal(slices[5], xyz[5])

    def test_other_formats_are_z_y_x(self) -> None:
        array = noise((4, 5, 6))
        slices = StoredAxis("hwd").slice_view(array, "RAS")
        np.testing.assert_array_equal(slices[3], array[:, :, 3])
        slices = StoredAxis("dhw").slice_view(array, "RAS")
        np.testing.assert_array_equal(slices[3], array[3])

    @pytest.mark.parametrize(
        ("name", "xyz"), [("a.nii", True), ("A.NII.GZ", True), ("a.mha", False)]
    )
    def test_of_a_file(self, name: str, xyz: bool) -> None:
        assert reads_xyz(Path(name)) == xyz

    def test_rotation(self) -> None:
        array = noise((4, 5, 6))
        for turns, code in ((1, cv2.ROTATE_90_CLOCKWISE), (2, cv2.ROTATE_180)):
            slices = StoredAxis("dhw", turns).slice_view(array, "RAS")
            np.testing.assert_array_equal(slices[2], cv2.rotate(array[2], code))

    @pytest.mark.parametrize("order", ["hwd", "dhw"])
    @pytest.mark.parametrize("xyz", [True, False])
    @pytest.mark.parametrize("rotation", [None, "cv2.ROTATE_90_CLOCKWISE", "cv2.ROTATE_180"])
    def test_labels_undo_rotation_and_resize(self, order: Any, xyz: bool, rotation: Any) -> None:
        for orientation in ("LPS", "RAS", "AIR", "SLP"):
            volume = oblique((4, 5, 6), orientation)
            config = Infer3dConfig(slice_shape_order=order, slice_rotation=rotation)
            [cut] = VolumePredictor(copying((1, 1)), config).cuts(xyz)
            size = cut.slice_view(volume.array, orientation).shape[1:]
            predictor = VolumePredictor(copying(size, intensity=WINDOW), config)
            np.testing.assert_array_equal(predictor.labels(volume, xyz=xyz), volume.array > 0)

    def test_slices_are_resized_before_the_network(self) -> None:
        volume = Volume(np.kron(noise((4, 6, 3)), np.ones((8, 8, 1), np.int16)))
        config = Infer3dConfig(
            slice_shape_order="hwd", slice_resize=(96, 64), slice_normalize=True,
            slice_rotation="ROTATE_90_COUNTERCLOCKWISE",
        )  # fmt: skip
        masks: dict[int, NDArray[np.uint8]] = {}
        predictor = VolumePredictor(copying((64, 96)), config)
        labels = predictor.labels(volume, on_mask=masks.__setitem__)
        assert sorted(masks) == [0, 1, 2]
        assert masks[0].shape == (64, 96)
        middle = 2 * (volume.array.astype(int) - volume.array.min((0, 1)))
        expected = middle[3::8, 3::8] > np.ptp(volume.array, axis=(0, 1))
        np.testing.assert_array_equal(labels[3::8, 3::8], expected)


class TestIntensities:
    def test_statistics_are_of_the_whole_volume(self) -> None:
        array = np.zeros((4, 2, 2), np.int16)
        array[1:] = [[0, 50], [100, 100]]
        array[3, 0, 0] = 200
        predictor = copying((2, 2), intensity="full")
        labels = VolumePredictor(predictor).labels(Volume(array))
        np.testing.assert_array_equal(labels, array >= 100)
        np.testing.assert_array_equal(predictor.batches[0][1, ..., 0], [[0, 64], [128, 128]])

    def test_own_range_of_each_slice_only_on_demand(self) -> None:
        array = np.zeros((3, 2, 2), np.int16)
        array[1], array[2] = [[-1000, 0], [0, 1000]], [[50, 200], [125, 124]]
        predictor = copying((2, 2), intensity="full")
        VolumePredictor(predictor, Infer3dConfig(slice_normalize=True)).labels(Volume(array))
        seen = predictor.batches[0][:3, ..., 0]
        np.testing.assert_array_equal(
            seen, [np.zeros((2, 2)), [[0, 127], [127, 255]], [[0, 255], [127, 125]]]
        )

    def test_own_range_of_wide_integers(self) -> None:
        values = np.array([[-32768, 32767], [0, 0]], np.int16)
        np.testing.assert_array_equal(to_own_range(values), [[0, 255], [127, 127]])
        assert to_own_range(np.full((2, 2), 7)).tolist() == [[0, 0], [0, 0]]

    def test_neighbours_are_channels_and_repeat_at_the_ends(self) -> None:
        volume = oblique((5, 4, 4))
        predictor = copying((4, 4), 5, neighbours=2, intensity=WINDOW)
        labels = VolumePredictor(predictor).labels(volume)
        np.testing.assert_array_equal(labels, volume.array > 0)
        seen = np.concatenate(predictor.batches)[:5]
        middle = seen[..., 2]
        for i, k in product(range(5), range(5)):
            np.testing.assert_array_equal(seen[i, ..., k], middle[min(max(i + k - 2, 0), 4)])

    def test_not_a_number_is_the_lowest_value(self) -> None:
        array = np.zeros((2, 2, 2), np.float32)
        array[0] = [[0.5, 2], [np.nan, np.inf]]
        predictor = copying((2, 2), intensity="full")
        labels = VolumePredictor(predictor).labels(Volume(array))
        np.testing.assert_array_equal(labels[0], [[0, 1], [0, 0]])

    def test_channels_must_fit(self) -> None:
        volume = Volume(np.zeros((2, 3, 3, 2), np.uint8))
        with pytest.raises(
            DataError, match=r"2 channels, but the network takes 1.*--channel, 0 to 1"
        ):
            VolumePredictor(copying((3, 3))).labels(volume, "two.nii")
        with pytest.raises(DataError, match="takes 4"):
            VolumePredictor(copying((3, 3), 4)).labels(Volume(volume.array[..., 0]))
        three = VolumePredictor(copying((3, 3), 3)).labels(Volume(volume.array[..., 0]))
        assert not three.any()

    def test_several_channels(self) -> None:
        array = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
        labels = VolumePredictor(copying((4, 5), 3)).labels(Volume(array))
        np.testing.assert_array_equal(labels, array[..., 1] > 127)


def test_postprocessing_is_of_the_whole_volume() -> None:
    predictor = copying((6, 6), intensity=WINDOW)
    shapes = []

    def process(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shapes.append(labels.shape)
        return np.zeros_like(labels)

    predictor.postprocessing[3] = process  # type: ignore[assignment]
    volume = oblique((6, 6, 6))
    assert not VolumePredictor(predictor).labels(volume).any()
    assert not VolumePredictor(predictor, Infer3dConfig(average_axes=True)).labels(volume).any()
    assert shapes == [(6, 6, 6)] * 2


def test_progress_counts_slices_of_all_axes() -> None:
    seen: list[tuple[int, int]] = []
    predictor = copying((4, 5))
    VolumePredictor(predictor, Infer3dConfig(average_axes=True)).labels(
        oblique((3, 4, 5)), on_slice=lambda *done: seen.append(done)
    )
    assert seen == [(i, 12) for i in range(1, 13)]
