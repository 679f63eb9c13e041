"""Overlays: exact colours inside, untouched pixels outside."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.inference.pictures.overlay import overlay

MAP = LabelMap(
    (
        LabelClass(0, "background", ((9, 9, 9),)),
        LabelClass(1, "disc", ((0, 255, 0),)),
        LabelClass(2, "square", ((255, 0, 100),)),
    ),
    binary=False,
)


def _scene(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A noisy picture, and a ring (with a hole) that touches a square."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 3)
    labels = ((distance < height / 4) & (distance > height / 10)).astype(np.uint8)
    middle = height // 2
    labels[middle : middle + height // 4, width // 2 : width // 2 + height // 4] = 2
    return rgb, labels


def _deep(labels: NDArray[np.uint8], c: int, margin: int) -> NDArray[np.bool_]:
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    return cv2.erode((labels == c).astype(np.uint8), kernel) == 1


@pytest.mark.parametrize("size", [(64, 90), (701, 640), (1300, 1250)])
class TestRegions:
    def test_background_stays_untouched(self, size: tuple[int, int]) -> None:
        rgb, labels = _scene(*size)
        result = overlay(rgb, labels, MAP, 0.5)
        assert (labels == 0).sum() > 1000
        np.testing.assert_array_equal(result[labels == 0], rgb[labels == 0])

    def test_inside_is_blended_by_alpha(self, size: tuple[int, int]) -> None:
        rgb, labels = _scene(*size)
        for alpha in (0.1, 0.3, 0.5, 0.7):
            result = overlay(rgb, labels, MAP, alpha)
            for c in MAP.foreground:
                inside = _deep(labels, c.id, 3)
                assert inside.any()
                exact = (1 - alpha) * rgb[inside] + alpha * np.array(c.colors[0])
                assert np.abs(result[inside] - exact).max() <= 0.5 + 1e-3

    def test_outline_is_opaque_and_in_its_own_region(self, size: tuple[int, int]) -> None:
        rgb, labels = _scene(*size)
        result = overlay(rgb, labels, MAP, 0.2)
        for c in MAP.foreground:
            region = labels == c.id
            opaque = (result == np.array(c.colors[0])).all(axis=-1)
            cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
            edge = region & (cv2.erode(region.astype(np.uint8), cross) == 0)
            assert opaque[edge].all(), "the rim, that of the hole too, is drawn"
            assert not opaque[~region].any()


class TestAlpha:
    def test_zero_shows_the_image_and_the_outline(self) -> None:
        rgb, labels = _scene(64, 90)
        result = overlay(rgb, labels, MAP, 0.0)
        inside = _deep(labels, 2, 2)
        np.testing.assert_array_equal(result[inside], rgb[inside])
        assert (result != rgb).any()

    def test_one_shows_the_colors(self) -> None:
        rgb, labels = _scene(64, 90)
        result = overlay(rgb, labels, MAP, 1.0)
        for c in MAP.foreground:
            assert (result[labels == c.id] == c.colors[0]).all()

    @pytest.mark.parametrize("alpha", [0.1, 0.2, 0.3, 0.6, 0.9])
    def test_a_color_blended_with_itself_stays(self, alpha: float) -> None:
        rgb = np.full((16, 16, 3), (0, 255, 0), np.uint8)
        result = overlay(rgb, np.ones((16, 16), np.uint8), MAP, alpha)
        np.testing.assert_array_equal(result, rgb)


def test_input_is_not_changed() -> None:
    rgb, labels = _scene(64, 90)
    before = rgb.copy(), labels.copy()
    overlay(rgb, labels, MAP, 0.5)
    np.testing.assert_array_equal(rgb, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_empty_mask_is_the_image() -> None:
    rgb, _ = _scene(64, 90)
    np.testing.assert_array_equal(overlay(rgb, np.zeros((64, 90), np.uint8), MAP, 0.5), rgb)
