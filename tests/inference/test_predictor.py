"""Images in, probabilities out at native size."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.errors import ConfigError, DataError
from flexseg.inference.predictor import Predictor

Make = Callable[..., Predictor]


def _probabilities(predictor: Predictor, *images: NDArray) -> list[NDArray[np.float32]]:
    named = [(f"{i}.png", image) for i, image in enumerate(images)]
    return [p for _, _, p in predictor.probabilities(named)]


def _ramp(height: int, width: int) -> NDArray[np.uint8]:
    """Brightness grows from left to right."""
    row = np.round(np.linspace(0, 255, width)).astype(np.uint8)
    return np.repeat(np.tile(row, (height, 1))[..., None], 3, axis=2)


class TestNativeSize:
    def test_equal_size_is_passed_through(self, brightness: Make) -> None:
        image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        (p,) = _probabilities(brightness(), image)
        np.testing.assert_allclose(p[..., 0], image.mean(axis=-1) / 255, atol=1e-6)

    def test_probabilities_are_resized_not_labels(self, brightness: Make) -> None:
        """The cut of a ramp falls between the network's pixels, which are 8 wide here."""
        predictor = brightness((8, 8), threshold=0.55)
        (p,) = _probabilities(predictor, _ramp(64, 64))
        labels = predictor.labels(p)
        cut = int(np.flatnonzero(labels[30])[0])
        expected = int(np.flatnonzero(_ramp(1, 64)[0, :, 0] > 0.55 * 255)[0])
        assert expected % 8 != 0
        assert abs(cut - expected) <= 1
        by_labels = cv2.resize(
            (p[4::8, 4::8, 0] > 0.55).astype(np.uint8), (64, 64), interpolation=cv2.INTER_NEAREST
        )
        assert int(np.flatnonzero(by_labels[30])[0]) % 8 == 0
        assert len(np.unique(p)) > 40

    def test_small_images_shrink_the_probabilities_by_area(self, brightness: Make) -> None:
        image = np.zeros((4, 4, 3), np.uint8)
        image[1, 2] = 255
        (p,) = _probabilities(brightness((8, 8)), image)
        assert p.shape == (4, 4, 1)
        assert p.sum() == pytest.approx(1, abs=0.1)
        assert np.unravel_index(p.argmax(), p.shape)[:2] == (1, 2)

    @given(height=st.integers(1, 41), width=st.integers(1, 41), batch=st.integers(1, 3))
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_any_size(self, brightest_channel: Make, height: int, width: int, batch: int) -> None:
        predictor = brightest_channel((8, 12), batch_size=2)
        images = [np.zeros((height, width, 3), np.uint8) for _ in range(batch)]
        for i, image in enumerate(images):
            image[..., i] = 255
        found = _probabilities(predictor, *images)
        assert len(found) == batch
        for i, p in enumerate(found):
            assert p.shape == (height, width, 3) and p.dtype == np.float32
            np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-5)
            assert (predictor.labels(p) == i).all()

    @pytest.mark.parametrize("classes", [1, 2, 5, 6, 12])
    @pytest.mark.parametrize("size", [(5, 3), (8, 8), (30, 17)])
    def test_any_number_of_classes(
        self, brightness: Make, classes: int, size: tuple[int, int]
    ) -> None:
        p = np.random.default_rng(0).random((8, 8, classes), np.float32)
        resized = brightness().resize(p, size)
        assert resized.shape == (*size, classes)
        for c in range(classes):
            alone = brightness().resize(np.ascontiguousarray(p[..., c : c + 1]), size)
            np.testing.assert_allclose(resized[..., c : c + 1], alone, atol=1e-6)


class TestBatches:
    @pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
    def test_order_and_pixels_do_not_depend_on_the_batch(
        self, brightness: Make, batch_size: int
    ) -> None:
        images = [np.full((6 + i, 9, 3), 40 * i, np.uint8) for i in range(5)]
        predictor = brightness(batch_size=batch_size)
        found = list(predictor.probabilities((str(i), image) for i, image in enumerate(images)))
        assert [name for name, _, _ in found] == list("01234")
        for i, (_, pixels, p) in enumerate(found):
            assert pixels is images[i]
            np.testing.assert_allclose(p, 40 * i / 255, atol=1e-5)

    def test_no_more_than_a_batch_is_read_ahead(self, brightness: Make) -> None:
        read: list[int] = []

        def images() -> object:
            for i in range(6):
                read.append(i)
                yield str(i), np.zeros((8, 8, 3), np.uint8)

        next(iter(brightness(batch_size=2).probabilities(images())))  # type: ignore[arg-type]
        assert read == [0, 1]


class TestImageTypes:
    def test_color_order_of_the_package(self, brightest_channel: Make) -> None:
        red = np.zeros((8, 8, 3), np.uint8)
        red[..., 0] = 255
        for order, expected in (("RGB", 0), ("BGR", 2)):
            predictor = brightest_channel(order=order)
            (p,) = _probabilities(predictor, red)
            assert (predictor.labels(p) == expected).all()

    def test_16_bit_keeps_its_brightness(self, brightness: Make) -> None:
        image = np.full((10, 10, 1), 0.7 * 65535, np.uint16)
        (p,) = _probabilities(brightness(), image)
        np.testing.assert_allclose(p, 0.7, atol=1e-3)

    def test_channels_that_do_not_fit(self, brightness: Make) -> None:
        with pytest.raises(DataError, match=r"7.png: The image has 5 channels, .* takes 3"):
            list(brightness().probabilities([("7.png", np.zeros((8, 8, 5), np.uint8))]))


class TestLabels:
    def test_threshold_of_one_class(self, brightness: Make) -> None:
        p = np.array([[[0.3], [0.6], [0.9]]], np.float32)
        assert brightness(threshold=0.5).labels(p).tolist() == [[0, 1, 1]]
        assert brightness(threshold=0.8).labels(p).tolist() == [[0, 0, 1]]

    def test_most_probable_class(self, brightest_channel: Make) -> None:
        p = np.array([[[0.2, 0.3, 0.5], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1]]], np.float32)
        labels = brightest_channel().labels(p)
        assert labels.tolist() == [[2, 0, 1]] and labels.dtype == np.uint8


class TestBlur:
    def test_blur_is_a_gaussian_of_the_probabilities(self, brightness: Make) -> None:
        image = np.zeros((8, 8, 3), np.uint8)
        image[4, 4] = 255
        (sharp,) = _probabilities(brightness(), image)
        (soft,) = _probabilities(brightness(blur=(3, 3)), image)
        assert sharp[4, 4, 0] == pytest.approx(1, abs=1e-5)
        # OpenCV's kernel of 3 with sigma 0 is [1, 2, 1] / 4 along each axis.
        expected = np.outer([1, 2, 1], [1, 2, 1]) / 16
        np.testing.assert_allclose(soft[3:6, 3:6, 0], expected, atol=0.02)

    @pytest.mark.parametrize("blur", [(4, 5), (0, 3), (-3, 3)])
    def test_blur_without_a_centre_is_refused(
        self, brightness: Make, blur: tuple[int, int]
    ) -> None:
        with pytest.raises(ConfigError, match="odd numbers"):
            brightness(blur=blur)
