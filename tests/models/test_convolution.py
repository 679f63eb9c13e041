"""Convolutions as matrix products equal Keras' own layers."""

from __future__ import annotations

from unittest.mock import patch

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexseg.models import convolution


def _both_ways(layer: keras.layers.Layer, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    fast = keras.ops.convert_to_numpy(layer(x))
    with patch.object(convolution, "_few_pixels", return_value=False):
        plain = keras.ops.convert_to_numpy(layer(x))
    return fast, plain


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    channels=st.integers(1, 6),
)
def test_convolutions_of_few_pixels(
    height: int, width: int, kernel: tuple[int, int], channels: int
) -> None:
    layer = convolution.Conv2D(4, kernel, padding="same", bias_initializer="normal")
    x = np.random.default_rng(0).normal(size=(2, height, width, channels)).astype(np.float32)
    fast, plain = _both_ways(layer, x)
    np.testing.assert_allclose(fast, plain, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), factor=st.integers(1, 3))
def test_transposed_convolutions(height: int, width: int, factor: int) -> None:
    layer = convolution.Conv2DTranspose(3, factor, strides=factor, bias_initializer="normal")
    x = np.random.default_rng(0).normal(size=(2, height, width, 4)).astype(np.float32)
    fast, plain = _both_ways(layer, x)
    np.testing.assert_allclose(fast, plain, atol=1e-5)


@pytest.mark.parametrize("keys", [{"strides": 2}, {"dilation_rate": 2}, {"groups": 2}])
def test_other_convolutions_are_kerass_own(keys: dict[str, int]) -> None:
    layer = convolution.Conv2D(4, 3, padding="same", **keys)
    plain = keras.layers.Conv2D(4, 3, padding="same", **keys)
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 2)).astype(np.float32)
    layer.build(x.shape)
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(layer(x)), keras.ops.convert_to_numpy(plain(x))
    )
