"""The way from pixels to network input: sizes, scales and channels on known answers."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from config_parts import preprocessing_of
from flexseg.config import Experiment
from flexseg.errors import ConfigError, DataError
from flexseg.files.large_images import ArrayRows
from flexseg.files.preprocess import Preprocessing

quick = settings(max_examples=30, deadline=None)
sides = st.integers(1, 33)


def same_size(pixels: NDArray[Any], channels: int = 3, **options: Any) -> NDArray[Any]:
    """Pixels through a preprocessing that does not resize."""
    height, width = pixels.shape[:2]
    return Preprocessing(width, height, channels, **options).image(pixels)


@quick
@given(
    hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=33),
        elements=st.sampled_from([0, 1, 2, 7, 200]),
    ),
    sides,
    sides,
)
def test_labels_stay_labels(labels: NDArray[np.uint8], width: int, height: int) -> None:
    """Resizing invents no class, whatever the sizes."""
    resized = Preprocessing(width, height, 1).labels(labels)
    assert resized.shape == (height, width)
    assert resized.dtype == np.uint8
    assert set(np.unique(resized)) <= set(np.unique(labels))


@quick
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)),
    st.integers(1, 5),
)
def test_labels_enlarged_by_a_whole_factor_are_blocks(
    labels: NDArray[np.uint8], factor: int
) -> None:
    height, width = labels.shape
    resized = Preprocessing(width * factor, height * factor, 1).labels(labels)
    assert np.array_equal(resized, np.kron(labels, np.ones((factor, factor), np.uint8)))


@quick
@given(
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 3]),
    st.tuples(sides, sides, sides, sides),
    st.sampled_from(["auto", "nearest", "bilinear", "cubic", "area", "lanczos", "scikit-image"]),
)
def test_any_image_gets_the_network_size(
    dtype: Any, found: int, channels: int, size: tuple[int, int, int, int], interpolation: str
) -> None:
    """Height and width are not swapped; a constant image keeps its value."""
    h, w, height, width = size
    value = 51 if dtype != np.uint16 else 51 * 257
    pixels = np.full((h, w, found), value, dtype)
    result = Preprocessing(width, height, channels, interpolation=interpolation).image(pixels)
    assert result.shape == (height, width, channels)
    assert result.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    assert np.allclose(result, 51, atol=1)


def test_auto_shrinks_by_area() -> None:
    """The mean of each block; bilinear would take the four pixels in its middle."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    blocks = pixels.reshape(6, 4, 10, 4, 3).mean(axis=(1, 3))
    shrunk = Preprocessing(10, 6, 3).image(pixels)
    assert np.abs(shrunk - blocks).max() <= 0.5 + 1e-6
    bilinear = Preprocessing(10, 6, 3, interpolation="bilinear").image(pixels)
    assert np.abs(bilinear - blocks).max() > 10


def test_auto_enlarges_bilinearly() -> None:
    pixels = np.array([[[0.0], [100.0]]], np.float32)
    enlarged = Preprocessing(4, 1, 1).image(pixels)[0, :, 0]
    assert enlarged.tolist() == [0, 25, 75, 100]


def test_image_of_the_network_size_is_untouched() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(same_size(pixels), pixels)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.array([0, 32768, 65535], np.uint16), [0, 127.502, 255]),
        (np.array([0, 2**32 - 1], np.uint32), [0, 255]),
        (np.array([-1000, 0, 400], np.int16), [-1000, 0, 400]),
        (np.array([0.0, 0.25, 300.0]), [0, 0.25, 300]),
    ],
    ids=["uint16", "uint32", "int16", "float64"],
)
def test_wide_images_become_float_on_a_scale_of_255(
    pixels: NDArray[Any], expected: list[float]
) -> None:
    result = same_size(pixels[None, :, None], 1)
    assert result.dtype == np.float32
    assert result.ravel() == pytest.approx(expected, abs=1e-3)


def test_bool_images_are_black_and_white() -> None:
    result = same_size(np.array([[[False], [True]]]), 1)
    assert result.dtype == np.uint8
    assert result.ravel().tolist() == [0, 255]


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_window_maps_its_ends_to_0_and_255_and_clips(dtype: Any) -> None:
    hounsfield = np.array([[[-1000], [-160], [40], [240], [3000]]], dtype)
    result = same_size(hounsfield, 1, window=(-160, 240))
    assert result.ravel().tolist() == [0, 0, 127.5, 255, 255]
    assert result.dtype == np.float32


def test_window_holds_for_8_bit_images_too() -> None:
    result = same_size(np.array([[[50], [100], [150]]], np.uint8), 1, window=(50, 150))
    assert result.ravel().tolist() == [0, 127.5, 255]


COLOR = np.array([[[200, 100, 50]]], np.uint8)


@pytest.mark.parametrize(
    ("pixels", "channels", "expected"),
    [
        (COLOR, 3, [200, 100, 50]),
        (COLOR, 1, [round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]),
        (np.array([[[7]]], np.uint8), 3, [7, 7, 7]),
        (np.array([[[7]]], np.uint8), 1, [7]),
        (np.array([[[200, 100, 50, 9]]], np.uint8), 4, [200, 100, 50, 9]),
        (np.array([[[1, 2, 3, 4, 5]]], np.uint8), 5, [1, 2, 3, 4, 5]),
    ],
    ids=["rgb", "rgb-gray", "gray-rgb", "gray", "four", "five"],
)
def test_channels(pixels: NDArray[Any], channels: int, expected: list[int]) -> None:
    assert same_size(pixels, channels).ravel().tolist() == expected


@pytest.mark.parametrize(("found", "channels"), [(5, 3), (3, 5), (1, 4), (3, 4), (4, 3), (2, 1)])
def test_channels_that_do_not_fit_are_a_data_error(found: int, channels: int) -> None:
    with pytest.raises(DataError) as caught:
        Preprocessing(4, 4, channels).image(np.zeros((4, 4, found), np.uint8), "a.png")
    assert caught.value.where == "a.png"
    assert f", but the network takes {channels}" in caught.value.problem


def test_bgr_swaps_the_channels() -> None:
    assert same_size(COLOR, color_order="BGR").ravel().tolist() == [50, 100, 200]
    wide = same_size(COLOR.astype(np.float32), color_order="BGR")
    assert wide.ravel().tolist() == [50, 100, 200]


def test_bgr_does_not_change_gray() -> None:
    assert np.array_equal(same_size(COLOR, 1, color_order="BGR"), same_size(COLOR, 1))


def test_color_converter_is_opencvs_on_bgr() -> None:
    expected = cv2.cvtColor(COLOR[..., ::-1].copy(), cv2.COLOR_BGR2HSV_FULL)
    for name in ("cv2.COLOR_BGR2HSV_FULL", "COLOR_BGR2HSV_FULL"):
        assert np.array_equal(same_size(COLOR, color_converter=name), expected)


@pytest.mark.parametrize("name", ["cv2.COLOR_RGB2HSV", "cv2.COLOR_BGR2NONE", "cv2.imread", "os"])
def test_color_converter_that_is_none_is_a_config_error(name: str) -> None:
    experiment = Experiment.model_validate({"image": {"color_converter": name}})
    with pytest.raises(ConfigError) as caught:
        preprocessing_of(experiment)
    assert caught.value.where == "[image] color_converter"


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)


@pytest.mark.parametrize("gamma", [0, 1])
def test_gamma_0_and_1_change_nothing(gamma: float) -> None:
    assert np.array_equal(same_size(RAMP, 1, gamma=gamma), RAMP)


def test_gamma_follows_its_formula_in_both_types() -> None:
    expected = 255 * (RAMP / 255) ** 2.0
    assert np.abs(same_size(RAMP, 1, gamma=2.0) - expected).max() <= 0.5 + 1e-6
    assert np.allclose(same_size(RAMP.astype(np.float32), 1, gamma=2.0), expected, atol=1e-3)


def test_sharpening_follows_its_kernel() -> None:
    """1 + 8k in the centre, -k around: a dot of 10 on 0 becomes 10 + 80 k, 0 on a plain."""
    dot = np.zeros((5, 5, 1), np.float32)
    dot[2, 2] = 10
    result = same_size(dot, 1, sharpening=0.5)
    assert result[2, 2, 0] == 50
    assert result[1, 1, 0] == -5
    assert result[0, 0, 0] == 0
    plain = np.full((5, 5, 3), 90, np.uint8)
    assert np.array_equal(same_size(plain, sharpening=2), plain)


def test_from_experiment_and_dictionary_round_trip() -> None:
    experiment = Experiment.model_validate(
        {
            "model": {"image_width": 96, "image_height": 64, "image_channels": 1},
            "image": {"window": [-160, 240], "gamma": 1.5, "color_order": "BGR", "sharpening": 1},
            "dataset": {"resize_interpolation": "cubic"},
        }
    )
    p = preprocessing_of(experiment)
    assert (p.width, p.height, p.channels) == (96, 64, 1)
    assert (p.window, p.gamma, p.color_order) == ((-160, 240), 1.5, "BGR")
    assert (p.sharpening, p.interpolation) == (1, "cubic")
    stored = p.as_dict() | {"window": [-160, 240]}  # as JSON gives it back
    assert Preprocessing.from_dict(stored) == p
    assert Preprocessing.from_dict(Preprocessing(4, 4, 3).as_dict()) == Preprocessing(4, 4, 3)


class TestVolumes:
    """What `[volume]` adds."""

    KEYS: ClassVar[dict[str, Any]] = {
        "axis": "sagittal", "axes": ["axial", "sagittal"], "rotate": 90, "intensity": "lung",
        "bits": 16, "neighbours": 2,
    }  # fmt: skip

    def test_it_travels_with_the_weights(self) -> None:
        p = preprocessing_of(
            Experiment.model_validate({"model": {"image_channels": 5}, "volume": self.KEYS})
        )
        found = p.as_dict()
        assert {key: found[key] for key in self.KEYS} == self.KEYS | {"axes": ("axial", "sagittal")}
        assert Preprocessing.from_dict(json.loads(json.dumps(found))) == p

    def test_older_packages_have_the_defaults(self) -> None:
        p = Preprocessing(4, 4, 3, window=(0, 9))
        old = {key: value for key, value in p.as_dict().items() if key not in self.KEYS}
        assert Preprocessing.from_dict(old) == p
        assert p == Preprocessing.from_dict(
            p.as_dict() | {"axis": "axial", "rotate": 0, "bits": 8, "neighbours": 0}
        )

    def test_a_bad_intensity_is_a_config_error(self) -> None:
        experiment = Experiment.model_validate({"volume": {"intensity": "soft"}})
        with pytest.raises(ConfigError, match="'soft' is not a window") as error:
            preprocessing_of(experiment)
        assert error.value.where == "[volume] intensity"

    @quick
    @given(
        n=st.integers(1, 8),
        size=st.tuples(sides, sides, sides, sides),
        dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
        options=st.sampled_from(
            [{}, {"window": (20, 200)}, {"gamma": 1.7}, {"sharpening": 0.5},
             {"color_order": "BGR"}, {"interpolation": "cubic"},
             {"color_converter": "COLOR_BGR2HSV"}]
        ),
    )  # fmt: skip
    def test_a_stack_is_made_of_its_slices(
        self, n: int, size: tuple[int, int, int, int], dtype: Any, options: dict[str, Any]
    ) -> None:
        """Bit for bit; also with three channels, which are no colours then."""
        h, w, height, width = size
        p = Preprocessing(width, height, 2 * n + 1, neighbours=n, **options)
        pixels = np.random.default_rng(n).integers(0, 256, (h, w, 2 * n + 1)).astype(dtype)
        stack = p.image(pixels)
        assert stack.shape == (height, width, 2 * n + 1)
        for i in range(2 * n + 1):
            alone = p.single.image(pixels[..., i : i + 1])
            assert alone.dtype == stack.dtype
            np.testing.assert_array_equal(alone, stack[..., i : i + 1])
        np.testing.assert_array_equal(p.shown(pixels), pixels[..., n : n + 1])
        assert Preprocessing(4, 4, 3).shown(pixels) is pixels

    def test_a_stack_of_another_height_is_a_data_error(self) -> None:
        p = Preprocessing(4, 4, 3, neighbours=1)
        with pytest.raises(
            DataError,
            match="has 1 channels; expected the slices of a volume, as the network takes a slice and 1",
        ):
            p.image(np.zeros((4, 4, 1), np.uint8))


@pytest.mark.parametrize(
    "keys",
    [
        {"channels": 3},
        {"channels": 1, "gamma": 0.5, "sharpening": 0.2},
        {"channels": 3, "color_converter": "cv2.COLOR_BGR2HSV_FULL"},
        {"channels": 3, "window": (20.0, 200.0), "color_order": "BGR"},
        {"channels": 3, "neighbours": 1, "gamma": 2.0},
        {"channels": 3, "interpolation": "bilinear"},
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_by_rows_are_those_of_the_whole(keys: dict[str, Any], dtype: str) -> None:
    if dtype != "uint8" and "color_converter" in keys:
        return  # OpenCV converts no floats to HSV_FULL as bytes
    pixels = np.random.default_rng(0).integers(0, 256, (60, 71, 3)).astype(dtype)
    p = Preprocessing(17, 23, **keys)
    found = p.image_by_rows(ArrayRows(pixels))
    np.testing.assert_array_equal(found, p.image(pixels))
    assert found.dtype == p.image(pixels).dtype


def test_by_rows_channels_must_fit_too() -> None:
    for p in (Preprocessing(4, 4, 1), Preprocessing(4, 4, 3, neighbours=1)):
        with pytest.raises(DataError, match="5 channels"):
            p.image_by_rows(ArrayRows(np.zeros((9, 9, 5), np.uint8)))
