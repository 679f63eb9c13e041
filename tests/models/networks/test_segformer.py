"""SegFormer: the contract, the published sizes, and the resolutions of its stages."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.models.build import build_model
from flexseg.models.networks import segformer
from flexseg.models.networks.segformer import SIZES, Size


class TestSegFormer(ModelContract):
    name = "SegFormer"
    unit = 64

    @pytest.fixture(autouse=True)
    @staticmethod
    def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
        """One block per stage, since B0 takes long to trace; no dropout, to compare two steps."""
        monkeypatch.setitem(SIZES, "B0", Size(8, (1, 1, 1, 1), 16))
        monkeypatch.setattr(segformer, "DROP_PATH", 0.0)
        monkeypatch.setattr(segformer, "DROPOUT", 0.0)


def _config(**keys: Any) -> ModelConfig:
    base = {"model": "SegFormer", "image_width": 64, "image_height": 64}
    return parse_section(base | keys)


# Millions of parameters with the 150 classes of ADE20K; Xie 2021, table 2.
PUBLISHED = {"B0": 3.8, "B1": 13.7, "B2": 27.5, "B3": 47.3, "B4": 64.1, "B5": 84.7}


def _parameters(size: Size, classes: int, channels: int = 3) -> int:
    """The count by the paper's description; statistics of batch normalisation included."""

    def linear(inputs: int, outputs: int, kernel: int = 1) -> int:
        return kernel**2 * inputs * outputs + outputs

    total = 0
    for stage, (heads, blocks) in enumerate(zip((1, 2, 5, 8), size.blocks, strict=True)):
        c, reduction = heads * size.width, (8, 4, 2, 1)[stage]
        attention = 4 * linear(c, c) + (linear(c, c, reduction) + 2 * c if reduction > 1 else 0)
        perceptron = linear(c, 4 * c) + linear(1, 4 * c, 3) + linear(4 * c, c)
        total += linear(channels, c, 3 if stage else 7) + 2 * c
        total += blocks * (2 * c + attention + 2 * c + perceptron) + 2 * c
        total += linear(c, size.decoder)
        channels = c
    return total + 4 * size.decoder**2 + 4 * size.decoder + linear(size.decoder, classes)


@pytest.mark.parametrize("size", SIZES)
def test_the_rule_gives_the_published_counts(size: str) -> None:
    assert round(_parameters(SIZES[size], 150) / 1e6, 1) == PUBLISHED[size]


@pytest.mark.parametrize("size", ["B0", "B2"])
def test_networks_follow_the_rule(size: str) -> None:
    model = build_model(_config(segformer=size, num_classes=150))
    assert model.count_params() == _parameters(SIZES[size], 150)


def test_parameter_count_of_the_published_code() -> None:
    statistics = 2 * SIZES["B0"].decoder  # of batch normalisation, which PyTorch does not count
    assert _parameters(SIZES["B0"], 150) == 3_752_694 + statistics


def _attentions(model: keras.Model) -> list[keras.layers.MultiHeadAttention]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.MultiHeadAttention)]


def test_keys_are_reduced_by_8_4_2_and_1() -> None:
    model = build_model(_config(image_width=128, image_height=64))
    shapes = [
        (queries.shape[1:], values.shape[1:], layer.num_heads, layer.key_dim)
        for layer in _attentions(model)
        for queries, values in [layer.input]
    ]
    assert shapes[::2] == shapes[1::2]
    assert shapes[::2] == [
        ((16 * 32, 32), (2 * 4, 32), 1, 32),
        ((8 * 16, 64), (2 * 4, 64), 2, 32),
        ((4 * 8, 160), (2 * 4, 160), 5, 32),
        ((2 * 4, 256), (2 * 4, 256), 8, 32),
    ]


def test_branches_are_dropped_more_often_the_deeper_they_are() -> None:
    model = build_model(_config())
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    expected = [rate for block in range(1, 8) for rate in 2 * [0.1 * block / 7]]
    np.testing.assert_allclose([layer.rate for layer in dropouts], [*expected, 0.1])
    assert {layer.noise_shape for layer in dropouts[:-1]} == {(None, 1, 1, 1)}


def test_a_dropped_branch_is_dropped_for_the_whole_image() -> None:
    model = build_model(_config())
    layer = next(x for x in model.layers if isinstance(x, keras.layers.Dropout) and x.rate > 0.09)
    ones = np.ones((64, 3, 3, 4), np.float32)
    out = keras.ops.convert_to_numpy(layer(ones, training=True)).reshape(64, -1)
    kept = 1 / (1 - layer.rate)
    assert (out.min(axis=1) == out.max(axis=1)).all()
    np.testing.assert_allclose(np.unique(out), [0, kept], rtol=1e-6)


def test_patches_overlap_and_begin_three_pixels_outside() -> None:
    model = build_model(_config(image_channels=1))
    pad, patches = (
        next(layer for layer in model.layers if isinstance(layer, kind))
        for kind in (keras.layers.ZeroPadding2D, keras.layers.Conv2D)
    )
    patches.set_weights([np.ones_like(w) * (w.ndim > 1) for w in patches.get_weights()])
    seen = keras.ops.convert_to_numpy(patches(pad(np.ones((1, 64, 64, 1), np.float32))))[0, ..., 0]
    assert seen.shape == (16, 16)
    assert (seen[0, 0], seen[0, 1], seen[1, 1], seen[-1, -1]) == (4 * 4, 4 * 7, 7 * 7, 7 * 7)


def test_half_precision_is_close_to_full() -> None:
    x = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    full = build_model(_config())
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = build_model(_config())
    half.set_weights(full.get_weights())
    difference = np.abs(half.predict_on_batch(x) - full.predict_on_batch(x))
    assert 0 < difference.mean() < 0.02
