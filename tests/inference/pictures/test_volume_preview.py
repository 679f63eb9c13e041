import numpy as np
import pytest
from PIL import Image

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.files.display import CLASS_COLORS
from flexseg.files.intensity import Intensity
from flexseg.files.volumes.slices import SliceAxis
from flexseg.files.volumes.volume import Volume
from flexseg.inference.pictures.volume_preview import (
    choose_slices,
    montage,
    overlay_frames,
    preview_axis,
    preview_grey,
    preview_volume,
    slice_numbers,
    voxels_per_slice,
)
from flexseg.inference.results.volume_table import volume_rows
from synthetic_volumes import ORDERS

LABELS = LabelMap(
    tuple(
        LabelClass(i, name, ((i, i, i),))
        for i, name in enumerate(("background", "liver", "tumour", "kidney"))
    ),
    binary=False,
)


def volume(shape=(30, 40, 50), spacing=(1.0, 1.5, 2.5), order="LPS") -> tuple[Volume, np.ndarray]:
    """A volume in LPS, with a box in its lowest, foremost, right corner; then in another order."""
    array, labels = np.full(shape, -900, np.int16), np.zeros(shape, np.uint8)
    array[2:6, 3:13, 4:14], labels[2:6, 3:13, 4:14] = 300, 1
    whole = Volume(array, spacing, (1.0, 2.0, 3.0))
    turned = whole.oriented(order)
    return turned, whole.with_array(labels).oriented(order).array


def colored(frame: np.ndarray, class_id: int) -> np.ndarray:
    """Where a frame has a class's colour alone (beta = 1, alpha = 0)."""
    return (frame == CLASS_COLORS[class_id - 1]).all(axis=-1)


class TestAxis:
    def test_axial_unless_slices_lie_far_apart_elsewhere(self):
        for spacing, name in (
            ((1, 1, 1), "axial"),
            ((0.5, 0.5, 7.5), "axial"),
            ((7.5, 0.5, 0.5), "sagittal"),
            ((0.5, 3.0, 0.5), "coronal"),
            ((1.5, 1, 1), "axial"),
        ):
            assert preview_axis(volume(spacing=spacing)[0]).name == name

    def test_whatever_the_order_of_voxels(self):
        for order in ORDERS:
            assert preview_axis(volume(spacing=(7.5, 0.5, 0.5), order=order)[0]).name == "sagittal"


class TestSlices:
    @pytest.mark.parametrize("order", ["LPS", "RAS", "PSR", "SLA"])
    @pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
    def test_numbers_are_those_of_the_table(self, order, name):
        turned, labels = volume(order=order)
        axis = SliceAxis(name)
        counts = voxels_per_slice(labels, axis, turned.orientation, 4)
        assert counts.sum(axis=0).tolist() == np.bincount(labels.ravel(), minlength=4).tolist()
        numbers = slice_numbers(turned, axis)
        found = sorted(numbers[i] for i in np.flatnonzero(counts[:, 1]))
        row = volume_rows("case", turned.with_array(labels), LABELS)[0]
        at = 5 + 2 * ("axial", "coronal", "sagittal").index(name)
        assert [found[0], found[-1]] == row[at : at + 2]

    def test_every_class_is_shown_and_the_rest_spread(self):
        counts = np.zeros((600, 4), np.int64)
        counts[:, 0] = 1000
        counts[200:400, 1] = np.arange(200) % 90
        counts[77, 2] = 1
        chosen = choose_slices(counts)
        assert len(chosen) == 24
        assert 77 in chosen
        assert sum(200 <= i < 400 for i in chosen) >= 15
        assert chosen[0] == 0
        assert chosen[-1] == 599

    @pytest.mark.parametrize("total", [1, 5, 24])
    def test_few_slices_are_all_shown(self, total):
        assert choose_slices(np.ones((total, 2), np.int64)) == list(range(total))

    def test_nothing_found_is_spread_evenly(self):
        counts = np.zeros((240, 4), np.int64)
        assert np.diff(choose_slices(counts)).max() <= 11

    def test_more_classes_than_places(self):
        counts = np.zeros((300, 200), np.int64)
        counts[np.arange(1, 200), np.arange(1, 200)] = np.arange(1, 200)
        chosen = choose_slices(counts)
        assert len(chosen) == 24
        assert 199 in chosen


class TestFrames:
    @pytest.mark.parametrize("order", ORDERS[::5])
    def test_labels_lie_on_the_image_as_radiologists_see_it(self, order):
        turned, labels = volume(order=order)
        frames = list(overlay_frames(turned, labels, LABELS, alpha=0.0, beta=1.0))
        assert len(frames) == 30
        here = [i for i, f in enumerate(frames) if colored(f, 1).any()]
        assert here == [2, 3, 4, 5]
        height, width = frames[0].shape[:2]
        assert height / width == pytest.approx(40 * 1.5 / 50, rel=0.02)
        rows, columns = np.nonzero(colored(frames[3], 1))
        # R at the left, A at the top.
        assert columns.min() / width == pytest.approx(4 / 50, abs=0.01)
        assert columns.max() / width == pytest.approx(14 / 50, abs=0.01)
        assert rows.min() / height == pytest.approx(3 / 40, abs=0.01)
        assert rows.max() / height == pytest.approx(13 / 40, abs=0.01)

    def test_weights(self):
        turned, labels = volume()
        window = preview_grey(turned, Intensity("window", -900, 600))
        frame = list(overlay_frames(turned, labels, LABELS, 0.5, 0.25, 10, grey=window))[3]
        inside = frame[int(frame.shape[0] * 8 / 40), int(frame.shape[1] * 9 / 50)]
        expected = 0.5 * 204 + 0.25 * np.array(CLASS_COLORS[0]) + 10
        assert np.abs(inside - expected).max() <= 1
        # The image outside is black.
        assert frame[int(frame.shape[0] * 0.7), int(frame.shape[1] * 0.7)].max() == 0

    def test_colours_and_channels(self):
        rgb = np.zeros((4, 8, 8, 3), np.uint8)
        rgb[..., 1] = 200
        colors = Volume(rgb, (1.0, 1.0, 1.0), (5.0, 0.0, 0.0))
        frame = next(overlay_frames(colors, np.zeros((4, 8, 8), np.uint8), LABELS))
        assert frame[100, 150].tolist() == [0, 200, 0]
        several = Volume(np.zeros((4, 8, 8, 2), np.float32))
        assert preview_volume(several).array.ndim == 3


class TestMontage:
    def test_picture(self, tmp_path):
        turned, labels = volume(order="PSR")
        montage(turned, labels, LABELS, tmp_path / "case.png")
        with Image.open(tmp_path / "case.png") as image:
            pixels = np.asarray(image.convert("RGB"))
        assert 1000 <= pixels.shape[1] <= 2000
        assert colored(pixels, 1).sum() > 1000
        assert colored(pixels, 2).sum() == 0
        assert [p.name for p in tmp_path.iterdir()] == ["case.png"]

    @pytest.mark.parametrize("shape", [(1, 300, 300), (3, 2, 300), (40, 300, 2), (2, 1, 1)])
    def test_odd_shapes(self, tmp_path, shape):
        array = np.zeros(shape, np.float32)
        labels = np.zeros(shape, np.uint8)
        labels[0, 0, 0] = 1
        montage(Volume(array), labels, LABELS, tmp_path / "case.png")
        with Image.open(tmp_path / "case.png") as image:
            # A single labelled voxel is never lost.
            assert colored(np.asarray(image.convert("RGB")), 1)[100:].any()

    def test_single_voxel_of_a_large_slice_is_seen(self, tmp_path):
        labels = np.zeros((30, 900, 900), np.uint8)
        labels[17, 451, 333] = 2
        volume = Volume(np.zeros(labels.shape, np.uint8))
        montage(volume, labels, LABELS, tmp_path / "case.png")
        with Image.open(tmp_path / "case.png") as image:
            assert colored(np.asarray(image.convert("RGB")), 2)[150:].any()

    def test_not_finite(self, tmp_path):
        turned, labels = volume()
        array = turned.array.astype(np.float32)
        array[0, 0, 0] = np.nan
        montage(turned.with_array(array), labels, LABELS, tmp_path / "case.png")
        assert (tmp_path / "case.png").stat().st_size > 0
