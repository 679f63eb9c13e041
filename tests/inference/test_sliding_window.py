"""Windows over large images: no gaps, no seams, and the answer of the whole image."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from config_parts import labels_of, preprocessing_of
from flexseg.config.infer import TiledInferConfig
from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor, gaussian_weight
from flexseg.models.package import ModelPackage

Make = Callable[..., Predictor]


@st.composite
def _layouts(draw: st.DrawFn) -> tuple[int, int, int]:
    """Length of the image, side of the window, overlap."""
    window = draw(st.integers(1, 40))
    return draw(st.integers(1, 150)), window, draw(st.integers(0, window - 1))


class TestWeights:
    @given(_layouts())
    def test_positive_and_symmetric(self, layout: tuple[int, int, int]) -> None:
        _, window, overlap = layout
        weight = gaussian_weight(window, overlap)
        assert weight.shape == (window,)
        assert (weight > 0).all()
        np.testing.assert_allclose(weight, weight[::-1])
        assert weight.max() == weight[window // 2]

    @pytest.mark.parametrize("window", [7, 512, 4096])
    @pytest.mark.parametrize("overlap", [0, 1, 2])
    def test_positive_at_hardly_any_overlap(self, window: int, overlap: int) -> None:
        assert (gaussian_weight(window, overlap) > 0).all()

    @pytest.mark.parametrize("overlap", [256, 384])
    def test_sigma_at_large_overlap(self, overlap: int) -> None:
        weight = gaussian_weight(512, overlap)
        sigma = 512 / np.sqrt(96)
        expected = np.exp(-(64.5**2 - 0.5**2) / (2 * sigma**2))
        np.testing.assert_allclose(weight[256 + 64] / weight[256], expected, rtol=1e-4)

    @pytest.mark.parametrize("overlap", [32, 64, 128, 256])
    def test_the_edge_counts_little_beside_a_neighbour(self, overlap: int) -> None:
        weight = gaussian_weight(512, overlap)
        neighbour = weight[: overlap // 4 - 1]  # where the first window of two ends
        own = weight[overlap - 1 : overlap - overlap // 4 : -1]
        assert (neighbour < own / 400).all()


def _counting(predictor: Predictor) -> list[int]:
    """Sizes of the batches that a predictor is given."""
    sizes: list[int] = []
    original = predictor.at_model_size

    def at_model_size(batch: NDArray, on_signal: Any = None) -> NDArray[np.float32]:
        sizes.append(len(batch))
        return original(batch, on_signal)

    predictor.at_model_size = at_model_size  # type: ignore[method-assign]
    return sizes


class _Mean(Predictor):
    """Probabilities of a pixelwise network without a network, so that many cases are fast."""

    def __init__(self, height: int, width: int) -> None:
        experiment = Experiment.model_validate(
            {"model": {"num_classes": 1, "image_height": height, "image_width": width}}
        )
        package = ModelPackage(
            experiment.model,
            labels_of(experiment),
            preprocessing_of(experiment),
            model=None,
        )
        super().__init__(package)

    def at_model_size(self, batch: NDArray, on_signal: Any = None) -> NDArray[np.float32]:
        return batch.mean(axis=-1, keepdims=True) / np.float32(255)


class TestPixelwiseNetwork:
    @given(data=st.data())
    def test_equals_the_whole_image(self, data: st.DataObject) -> None:
        window = data.draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
        overlap = data.draw(st.integers(0, min(window) - 1))
        height, width = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        tiled = TiledPredictor(_Mean(*window), overlap=overlap)
        ((name, same, p),) = tiled.probabilities([("a", pixels)])
        assert name == "a" and same is pixels
        assert p.shape == (height, width, 1) and p.dtype == np.float32
        np.testing.assert_allclose(p[..., 0], pixels.mean(axis=-1) / 255, atol=1e-6)

    def test_with_a_network_of_three_classes(self, brightest_channel: Make) -> None:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (37, 53, 3), np.uint8)
        ((_, _, whole),) = brightest_channel((37, 53)).probabilities([("a", pixels)])
        tiled = TiledPredictor(brightest_channel((16, 12)), overlap=5)
        ((_, _, p),) = tiled.probabilities([("a", pixels)])
        np.testing.assert_allclose(p, whole, atol=1e-6)
        np.testing.assert_array_equal(tiled.labels(p), pixels.argmax(axis=-1))

    @given(data=st.data())
    @settings(max_examples=60)
    def test_no_gap_at_any_split_size(self, data: st.DataObject) -> None:
        network = data.draw(st.tuples(st.integers(4, 24), st.integers(4, 24)))
        split = data.draw(st.integers(1, 60))
        height, width = data.draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
        config = TiledInferConfig(split_size=split)
        tiled = TiledPredictor.from_config(_Mean(*network), config)
        pixels = np.full((height, width, 3), 102, np.uint8)
        ((_, _, p),) = tiled.probabilities([("a", pixels)])
        np.testing.assert_allclose(p, np.full((height, width, 1), 0.4), atol=1e-6)


class TestStreaming:
    def test_every_row_is_read_once_and_given_once(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (103, 40, 3), np.uint8)
        asked: list[tuple[int, int]] = []

        def read(part: slice) -> NDArray:
            asked.append((part.start, part.stop))
            return pixels[part]

        tiled = TiledPredictor(_Mean(16, 16), overlap=6)
        given = []
        for first, p in tiled.slabs(read, 103, 40):
            given.append((first, first + len(p)))
            assert len(p) <= 16
            # Nothing is read before it is needed.
            assert asked[-1][1] <= first + 16
        for parts in (asked, given):
            assert parts[0][0] == 0 and parts[-1][1] == 103
            assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))

    def test_batches_are_full(self, brightness: Make) -> None:
        predictor = brightness((8, 8), batch_size=4)
        sizes = _counting(predictor)
        tiled = TiledPredictor(predictor, overlap=2)
        list(tiled.probabilities([("a", np.zeros((8, 60, 3), np.uint8))]))
        assert sizes == [4, 4, 2]


class TestSizesOfWindows:
    @pytest.mark.parametrize(
        ("keys", "window", "overlap"),
        [
            ({}, (64, 128), 16),
            ({"split_size": 256}, (128, 256), 32),
            ({"split_size": 50}, (25, 50), 6),
            ({"overlapping": 5}, (64, 128), 10),
            ({"overlapping": 0}, (64, 128), 0),
        ],
    )
    def test_from_config(self, keys: dict[str, Any], window: tuple[int, int], overlap: int) -> None:
        tiled = TiledPredictor.from_config(_Mean(64, 128), TiledInferConfig(**keys))
        assert (tiled.window, tiled.overlap) == (window, overlap)

    def test_overlap_that_does_not_fit(self) -> None:
        config = TiledInferConfig(overlapping=32)
        with pytest.raises(ConfigError, match="share 64 pixels") as caught:
            TiledPredictor.from_config(_Mean(64, 128), config)
        assert "below 32" in caught.value.fix
        TiledPredictor.from_config(_Mean(64, 128), TiledInferConfig(overlapping=31))

    def test_published_gap(self) -> None:
        # The originals leave 71.8 % of a 4288 x 2848 image black with split_size 1024 and a
        # network of 512; here at an eighth of all sizes.
        tiled = TiledPredictor.from_config(_Mean(64, 64), TiledInferConfig(split_size=128))
        pixels = np.full((356, 536, 3), 255, np.uint8)
        ((_, _, p),) = tiled.probabilities([("a", pixels)])
        np.testing.assert_allclose(p, 1, atol=1e-6)


def _smooth(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width] / 32
    waves = (np.sin(x + 0.3 * y), np.cos(0.7 * x - y), np.sin(0.5 * x * y / 4))
    return np.stack([127 + 100 * w for w in waves], axis=-1).astype(np.uint8)


def _convolutional(height: int, width: int) -> Predictor:
    """Two convolutions of 5 x 5 with fixed weights: a receptive field of 9 pixels."""
    experiment = Experiment.model_validate(
        {"model": {"num_classes": 2, "image_height": height, "image_width": width}}
    )
    inputs = keras.Input((height, width, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 5, padding="same", activation="tanh")(x)
    x = keras.layers.Conv2D(2, 5, padding="same", activation="softmax")(x)
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(7)
    model.set_weights([rng.normal(0, 0.15, w.shape) for w in model.get_weights()])
    package = ModelPackage(
        experiment.model,
        labels_of(experiment),
        preprocessing_of(experiment),
        model=model,
    )
    return Predictor(package)


class TestSeams:
    """Tiles of a network that sees its surroundings give what the whole image gives."""

    @pytest.mark.parametrize(
        ("split", "overlapping"), [(64, None), (64, 16), (128, None), (96, 20), (32, None)]
    )
    def test_like_the_whole_image(self, split: int, overlapping: int | None) -> None:
        height, width, network = 192, 288, 64
        pixels = _smooth(height, width)
        config = TiledInferConfig(split_size=split, overlapping=overlapping)
        tiled = TiledPredictor.from_config(_convolutional(network, network), config)
        ((_, _, p),) = tiled.probabilities([("a", pixels)])
        # The whole image at the scale at which the windows reach the network.
        size = (height * network // split, width * network // split)
        ((_, _, whole),) = _convolutional(*size).probabilities([("a", pixels)])
        assert whole.std(axis=(0, 1)).min() > 0.04
        border = 16 * split // network
        inner = (slice(border, -border), slice(border, -border))
        assert np.abs(p - whole)[inner].max() < 1e-3
