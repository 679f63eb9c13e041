"""The flexible UNet: the contract, and the published sizes and schedules."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from contract import ModelContract

from flexseg.errors import ConfigError
from flexseg.models.build import build_model
from flexseg.models.networks.unet import UNetConfig, dilation_schedule, kernel_schedule

SMALL = {"num_layers": 3, "base_filters": 4}


class TestUNet(ModelContract):
    name = "UNet"


class TestUNetOfTheSeeds(ModelContract):
    """Wide dilated kernels, batch normalisation, mish, dropout with a fixed seed."""

    name = "TensorFlowFlexUNet"
    small = SMALL | {
        "base_kernels": (7, 7),
        "dilation": (2, 2),
        "normalization": True,
        "activation": "mish",
        "dropout_rate": 0.05,
        "dropout_seed_fixing": True,
    }


def _config(**keys: Any) -> UNetConfig:
    base = {"image_width": 16, "image_height": 16, "input_normalize": False} | SMALL
    return UNetConfig.model_validate(base | keys)


def _parameters(config: UNetConfig) -> int:
    """The count by the rule of the original systems, without building the network."""
    levels, first = config.num_layers, config.base_filters
    kernels = [max(3, config.base_kernels[0] - 2 * level) for level in range(levels)]

    def conv(kernel: int, inputs: int, outputs: int) -> int:
        return kernel * kernel * inputs * outputs + outputs

    total, channels = 0, config.image_channels
    for level in range(levels):
        filters = first * 2**level
        total += conv(kernels[level], channels, filters) + conv(kernels[level], filters, filters)
        channels = filters
    for level in reversed(range(levels - 1)):
        filters = first * 2**level
        total += conv(2, 2 * filters, filters)
        total += conv(kernels[level], 2 * filters, filters)
        total += conv(kernels[level], filters, filters)
    return total + conv(1, first, config.num_classes)


SEEDS = {"base_filters": 16, "base_kernels": (9, 9), "num_layers": 8, "dropout_rate": 0.04}
SPLEEN = {"base_filters": 16, "base_kernels": (5, 5), "num_layers": 7, "dropout_rate": 0.05}


class TestParameterCounts:
    @pytest.mark.parametrize(
        ("keys", "classes", "published"),
        [
            (SEEDS, 6, 124_996_934),
            (SEEDS, 4, 124_996_900),
            (SEEDS, 2, 124_996_866),
            (SEEDS, 1, 124_996_849),
            (SPLEEN, 1, 31_127_153),
        ],
    )
    def test_the_rule_gives_the_published_counts(
        self, keys: dict[str, Any], classes: int, published: int
    ) -> None:
        assert _parameters(_config(**keys, num_classes=classes)) == published

    @pytest.mark.parametrize("classes", [1, 2, 5])
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("kernel", [3, 5, 9])
    @pytest.mark.parametrize("levels", [2, 4])
    def test_small_networks_follow_the_rule(
        self, classes: int, channels: int, kernel: int, levels: int
    ) -> None:
        config = _config(
            num_classes=classes, image_channels=channels, base_kernels=kernel, num_layers=levels
        )
        assert build_model(config).count_params() == _parameters(config)

    def test_the_network_of_the_spleen_seed(self) -> None:
        config = _config(**SPLEEN, num_classes=1, image_width=64, image_height=64, dilation=2)
        assert build_model(config).count_params() == 31_127_153


class TestSchedules:
    def test_kernels_narrow_with_the_level(self) -> None:
        assert kernel_schedule((9, 9), 8) == [9, 7, 5, 3, 3, 3, 3, 3]

    def test_dilations_narrow_with_the_level(self) -> None:
        assert dilation_schedule((3, 3), 8) == [3, 2, 1, 1, 1, 1, 1, 1]

    def test_layers_use_the_schedules(self) -> None:
        model = build_model(
            _config(
                num_layers=8,
                base_filters=1,
                base_kernels=(9, 9),
                dilation=(3, 3),
                dropout_rate=0.04,
                image_width=128,
                image_height=128,
            )
        )
        convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)][:-1]
        encoder, decoder = convolutions[:16], convolutions[16:]
        kernels = [layer.kernel_size[0] for layer in encoder]
        assert kernels == [9, 9, 7, 7, 5, 5, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]
        kernels = [layer.kernel_size[0] for layer in decoder]
        assert kernels == [3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 7, 7, 9, 9]
        dilations = [layer.dilation_rate[0] for layer in encoder[::2] + decoder[::2]]
        assert dilations == [3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3]
        filters = [layer.filters for layer in encoder[::2] + decoder[::2]]
        assert filters == [1, 2, 4, 8, 16, 32, 64, 128, 64, 32, 16, 8, 4, 2, 1]
        rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        expected = [0.04 * level for level in (*range(1, 8), *range(6, 0, -1))]
        np.testing.assert_allclose(rates, expected)

    def test_batch_normalisation_follows_the_activation(self) -> None:
        model = build_model(_config(normalization=True, num_layers=2, dropout_rate=0.1))
        kinds = [type(layer).__name__ for layer in model.layers]
        level = ["Conv2D", "BatchNormalization", "Conv2D", "BatchNormalization"]
        deep = ["Conv2D", "BatchNormalization", "Dropout", "Conv2D", "BatchNormalization"]
        assert kinds == [
            "InputLayer",
            *level,
            "MaxPooling2D",
            *deep,
            "Conv2DTranspose",
            "Concatenate",
            *level,
            "Conv2D",
            "Activation",
        ]

    def test_fixed_dropout_seed(self) -> None:
        model = build_model(_config(dropout_rate=0.1, dropout_seed_fixing=True))
        seeds = [layer.seed for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        assert seeds == [137, 137, 137]


class TestInputScale:
    @staticmethod
    def _output(mode: Any, x: np.ndarray) -> np.ndarray:
        keras.utils.set_random_seed(3)
        return build_model(_config(input_normalize=mode)).predict_on_batch(x)

    def test_true_divides_by_255(self) -> None:
        x = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)
        divided = self._output(True, x)
        np.testing.assert_allclose(divided, self._output(False, x / 255), atol=1e-6)
        assert np.abs(divided - self._output(False, x)).max() > 1e-3

    def test_standardize_forgets_brightness_and_contrast(self) -> None:
        x = np.random.default_rng(0).uniform(0, 120, (1, 16, 16, 3)).astype(np.float32)
        expected = self._output("standardize", x)
        np.testing.assert_allclose(self._output("standardize", 2 * x + 10), expected, atol=1e-5)
        scaled = (x - x.mean()) / x.std()
        np.testing.assert_allclose(self._output(False, scaled), expected, atol=1e-5)

    def test_standardized_channels_forget_a_tint(self) -> None:
        x = np.random.default_rng(0).uniform(0, 120, (1, 16, 16, 3)).astype(np.float32)
        mode = "standardize_channels"
        expected = self._output(mode, x)
        tinted = x * np.float32([0.5, 1, 2]) + np.float32([0, 10, 5])
        np.testing.assert_allclose(self._output(mode, tinted), expected, atol=1e-5)
        scaled = (x - x.mean((1, 2))) / x.std((1, 2))
        np.testing.assert_allclose(self._output(False, scaled), expected, atol=1e-5)
        assert np.abs(self._output("standardize", tinted) - expected).max() > 1e-3

    def test_standardize_is_per_image(self) -> None:
        x = np.random.default_rng(0).uniform(0, 120, (2, 16, 16, 3)).astype(np.float32)
        x[1] *= 2
        together = self._output("standardize", x)
        np.testing.assert_allclose(together[:1], self._output("standardize", x[:1]), atol=1e-5)

    def test_standardize_of_a_constant_image_is_finite(self) -> None:
        assert np.isfinite(self._output("standardize", np.full((1, 16, 16, 3), 7.0))).all()


class TestRefusals:
    def test_dropout_that_would_reach_one(self) -> None:
        with pytest.raises(ConfigError, match=r"would reach 1.00 at level 2.*less than 0.500"):
            build_model(_config(dropout_rate=0.5))

    @pytest.mark.parametrize("key", ["base_kernels", "dilation"])
    def test_unequal_pairs(self, key: str) -> None:
        with pytest.raises(ConfigError, match=rf"{key} = \(3, 5\) is not square"):
            build_model(_config(**{key: (3, 5)}))

    @pytest.mark.parametrize("key", ["activation", "final_activation"])
    def test_misspelt_activation(self, key: str) -> None:
        with pytest.raises(ConfigError, match="'sigmiod' is not an activation"):
            build_model(_config(**{key: "sigmiod"}, num_classes=1))
