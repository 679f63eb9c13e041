"""Inputs of little contrast are not stretched further than a training has shown."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flexseg.model_file.contrast import deviations, least_contrast, with_contrast
from flexseg.models.layers import Standardize, network_input, standardized_deviations


def _standardized(batch: NDArray, *, per_channel: bool) -> NDArray[np.float32]:
    layer = Standardize(per_channel=per_channel)
    return np.asarray(keras.ops.convert_to_numpy(layer(batch.astype(np.float32))))


@st.composite
def _batches(draw: st.DrawFn) -> NDArray[np.float32]:
    """Images [B, h, w, C] of all means, and of contrasts from none to the highest."""
    shape = draw(st.tuples(*(st.integers(*ends) for ends in ((1, 3), (4, 9), (4, 9), (1, 4)))))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    numbers = st.floats(0, 100, width=32) | st.just(0.0)
    spread = [draw(numbers) for _ in range(shape[0] * shape[3])]
    scale = np.array(spread, np.float32).reshape(shape[0], 1, 1, shape[3])
    return (rng.uniform(0, 255) + scale * rng.normal(size=shape)).astype(np.float32)


class TestStandardisation:
    @given(_batches(), st.booleans(), st.data())
    @settings(max_examples=60, deadline=None)
    def test_divides_by_the_least_where_a_deviation_is_below(
        self, batch: NDArray, per_channel: bool, data: st.DataObject
    ) -> None:
        count = batch.shape[-1] if per_channel else 1
        least = [data.draw(st.floats(0.5, 60)) for _ in range(count)]
        found = _standardized(with_contrast(batch, least), per_channel=per_channel)
        axes = (1, 2) if per_channel else (1, 2, 3)
        wide = batch.astype(np.float64)
        centred = wide - wide.mean(axis=axes, keepdims=True)
        expected = centred / np.maximum(wide.std(axis=axes, keepdims=True), least)
        np.testing.assert_allclose(found, expected, atol=2e-3)

    def test_an_image_with_contrast_stays_as_it_is(self) -> None:
        batch = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
        assert with_contrast(batch, [20.0]) is batch
        assert with_contrast(batch, [20.0, 30.0, 40.0]) is batch

    def test_only_what_is_below_changes(self) -> None:
        batch = np.random.default_rng(0).normal(100, [2, 50], (2, 8, 8, 2)).astype(np.float32)
        batch[1, ..., 0] *= 20
        found = with_contrast(batch, [20.0, 20.0])
        np.testing.assert_array_equal(found[..., 1], batch[..., 1])
        np.testing.assert_array_equal(found[1], batch[1])
        assert (found[0, ..., 0] != batch[0, ..., 0]).all()


class TestLeastContrast:
    def test_deviations_of_channels_and_of_all_values(self) -> None:
        image = np.zeros((4, 4, 2), np.uint8)
        image[:2, :, 0], image[..., 1] = 20, 10
        np.testing.assert_allclose(deviations(image, 2), [10, 0])
        np.testing.assert_allclose(deviations(image, 1), [np.sqrt(50)])

    def test_one_image_in_twenty_may_have_less(self) -> None:
        ramp = np.linspace(-1, 1, 64).reshape(8, 8, 1)
        shown = [contrast * ramp for contrast in range(101)]
        (least,) = least_contrast(shown, 1)
        assert least == pytest.approx(5 * ramp.std(), rel=1e-5)


@pytest.mark.parametrize(
    ("mode", "count"),
    [("standardize", 1), ("standardize_channels", 3), ("auto", 1), (True, 0), (False, 0)],
)
def test_a_network_says_by_what_it_divides(mode: bool | str, count: int) -> None:
    from flexseg.config.model import ModelConfig

    config = ModelConfig(image_width=16, image_height=16, input_normalize=mode)
    assert standardized_deviations(keras.Model(*network_input(config))) == count
