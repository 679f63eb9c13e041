"""ResEncUNet: the contract, its size from its description, and where it is supervised."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.errors import ConfigError
from flexseg.models.build import build_model, check_architecture
from flexseg.models.layers import leaky_relu_001
from flexseg.models.networks.resenc_unet import per_stage, resenc_multiple


class TestResEncUNet(ModelContract):
    name = "ResEncUNet"
    unit = 4


class TestAnisotropic(ModelContract):
    """A stage that halves one axis only, wide first kernels, and several convolutions up."""

    name = "ResidualEncoderUNet"
    unit = 8
    small: ClassVar[dict[str, Any]] = {
        "stage_features": [4, 6, 8],
        "stage_blocks": [1, 2],
        "stage_kernels": [(5, 5), (3, 3), (1, 3)],
        "stage_strides": [(1, 1), (2, 1), (2, 2)],
        "decoder_blocks": [2, 1],
    }


def _config(**keys: Any) -> ModelConfig:
    base = {"model": "ResEncUNet", "image_width": 16, "image_height": 16, "image_channels": 1}
    return parse_section(base | keys)


def _parameters(features: list[int], blocks: list[int], ups: list[int], classes: int) -> int:
    """The count by the rule, for kernels of 3 and one input channel."""

    def conv(kernel: int, inputs: int, outputs: int, norm: int = 2, bias: int = 0) -> int:
        return kernel**2 * inputs * outputs + (bias + norm) * outputs

    total, channels = conv(3, 1, features[0]), features[0]
    for width, count in zip(features, blocks, strict=True):
        for _ in range(count):
            total += conv(3, channels, width) + conv(3, width, width)
            total += conv(1, channels, width) if channels != width else 0
            channels = width
    for width, count in zip(features[-2::-1], ups, strict=True):
        total += conv(2, channels, width, norm=0, bias=1) + conv(3, 2 * width, width)
        total += (count - 1) * conv(3, width, width)
        channels = width
    return total + conv(1, channels, classes, norm=0, bias=1)


@pytest.mark.parametrize(
    ("features", "blocks", "ups"),
    [([4, 8], [1, 1], [1]), ([4, 8, 8], [1, 3, 2], [2, 1]), ([32, 64, 128], [1, 3, 4], [1, 1])],
)
def test_parameters_follow_the_description(
    features: list[int], blocks: list[int], ups: list[int]
) -> None:
    config = _config(
        stage_features=features, stage_blocks=blocks, decoder_blocks=ups, num_classes=3
    )
    assert build_model(config).count_params() == _parameters(features, blocks, ups, 3)


def test_the_last_value_holds_for_deeper_stages() -> None:
    assert per_stage([1, 3], 4) == [1, 3, 3, 3]
    assert per_stage([1, 2, 3], 2) == [1, 2]


@pytest.mark.parametrize(
    ("strides", "multiple"),
    [([(1, 1), (2, 2)], 4), ([(1, 1), (2, 1), (2, 2)], 4), ([(2, 2)], 8), ([(1, 1)], 1)],
)
def test_multiple_is_the_product_of_the_strides(strides: list[Any], multiple: int) -> None:
    assert resenc_multiple(_config(stage_features=[4, 4, 4], stage_strides=strides)) == multiple


def test_decoder_stages_have_the_resolutions_of_the_encoder() -> None:
    model = build_model(_config(stage_features=[4, 6, 8, 8], stage_blocks=1))
    shapes = [model.get_layer(f"decoder_{i}").output.shape[1:] for i in range(3)]
    assert shapes == [(16, 16, 4), (8, 8, 6), (4, 4, 8)]


def test_leaky_relu_has_the_slope_of_nnunet() -> None:
    np.testing.assert_allclose(leaky_relu_001(np.array([-2.0, 0.0, 3.0])), [-0.02, 0.0, 3.0])


def test_instance_norm_forgets_each_images_own_contrast() -> None:
    model = build_model(_config(stage_features=[4, 8], input_normalize=False))
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 1)).astype(np.float32)
    alone = model.predict_on_batch(x[:1])
    np.testing.assert_allclose(model.predict_on_batch(x)[:1], alone, atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"stage_features": [32]}, "describes 1 stage"),
        ({"stage_features": [4, 8], "stage_strides": [(1, 1), (3, 3)]}, "other strides"),
        ({"stage_strides": [(2, 2)]}, "begins with \\(2, 2\\)"),
        ({"stage_features": [4] * 5}, "5 stages leave one pixel of 16 x 16"),
    ],
)
def test_refuses_descriptions_of_no_network(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_architecture(_config(**keys))


def test_one_axis_alone_may_shrink_to_a_pixel() -> None:
    keys = {"stage_features": [4, 8, 8], "stage_strides": [(1, 1), (2, 1)]}
    check_architecture(_config(**keys, image_height=4, image_width=16))
