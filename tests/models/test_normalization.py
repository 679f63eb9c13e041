"""Batch normalisation of one operation equals that of Keras, in training as well."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexseg.models import normalization
from flexseg.models.normalization import BatchNormalization

tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="other engines take Keras' own operations"
)


def _trained_step(layer: keras.layers.Layer, x: np.ndarray, training: bool) -> dict[str, Any]:
    """Output, gradients and statistics after one call."""
    images = tf.constant(x)
    weight = tf.constant(np.random.default_rng(1).normal(size=x.shape).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(images)
        y = layer(images, training=training)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * weight)
    found = tape.gradient(loss, [images, *(v.value for v in layer.trainable_variables)])
    weights = {f"weight {i}": w for i, w in enumerate(layer.get_weights())}
    gradients = {f"gradient {i}": np.asarray(g) for i, g in enumerate(found)}
    return {"output": np.asarray(y)} | weights | gradients


def _pair(own: keras.layers.Layer, keras_own: keras.layers.Layer, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for layer in (own, keras_own):
        layer.build(shape)
    own.set_weights([rng.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in own.get_weights()])
    keras_own.set_weights(own.get_weights())


def _assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        scale = np.abs(theirs[name]).max() + 1
        np.testing.assert_allclose(
            values / scale, theirs[name] / scale, atol=2e-4 if "gradient 0" in name else 2e-5
        )


@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 3),
    height=st.integers(2, 7),
    width=st.integers(1, 7),
    channels=st.integers(1, 5),
    training=st.booleans(),
)
def test_batch_normalization(
    batch: int, height: int, width: int, channels: int, training: bool
) -> None:
    shape = (batch, height, width, channels)
    x = np.random.default_rng(2).normal(1, 3, size=shape).astype(np.float32)
    own, keras_own = BatchNormalization(momentum=0.8), keras.layers.BatchNormalization(momentum=0.8)
    _pair(own, keras_own, shape)
    _assert_equal(_trained_step(own, x, training), _trained_step(keras_own, x, training))


def test_a_frozen_layer_keeps_its_statistics() -> None:
    layer = BatchNormalization()
    layer.build((None, 4, 4, 2))
    layer.trainable = False
    before = layer.get_weights()
    layer(np.full((2, 4, 4, 2), 9.0, np.float32), training=True)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_reduced_precision() -> None:
    x = np.random.default_rng(0).normal(3, 2, size=(2, 8, 8, 4)).astype(np.float32)
    y = BatchNormalization(dtype="mixed_bfloat16")(x, training=True)
    assert y.dtype == "bfloat16"
    exact = np.asarray(BatchNormalization(dtype="float32")(x, training=True))
    np.testing.assert_allclose(np.asarray(tf.cast(y, tf.float32)), exact, atol=0.05)


def test_other_layers_take_keras_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the fused operation knows channels-last with scale and centre only")

    monkeypatch.setattr(normalization, "_fused", refuse)
    BatchNormalization(scale=False)(np.ones((1, 2, 2, 1), np.float32), training=True)
    BatchNormalization()(np.ones((4, 3), np.float32), training=True)
