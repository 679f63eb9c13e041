"""MultiResUNet: the contract, the published filters, the rule of the sizes."""

from __future__ import annotations

from typing import Any

import pytest
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.errors import ConfigError
from flexseg.models.build import build_model
from flexseg.models.networks.multires_unet import multires_filters


class TestMultiResUNet(ModelContract):
    name = "MultiResUNet"
    unit = 8


def _config(**keys: Any) -> ModelConfig:
    base = {"model": "MultiResUNet", "image_width": 16, "image_height": 16}
    return parse_section(base | keys)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [(32, (8, 17, 26)), (64, (17, 35, 53)), (128, (35, 71, 106)), (256, (71, 142, 213))],
)
def test_filters_of_the_paper(filters: int, expected: tuple[int, int, int]) -> None:
    assert multires_filters(filters) == expected


def _parameters(levels: int, first: int, channels: int, classes: int) -> int:
    """The count by the rule of the original systems, without building the network."""

    def normalized(kernel: int, inputs: int, outputs: int) -> int:
        return kernel * kernel * inputs * outputs + 4 * outputs

    def block(inputs: int, filters: int) -> int:
        widths = multires_filters(filters)
        total = normalized(1, inputs, sum(widths)) + 2 * 4 * sum(widths)
        for width in widths:
            total += normalized(3, inputs, width)
            inputs = width
        return total

    def path(inputs: int, filters: int, length: int) -> int:
        total = 0
        for _ in range(length):
            total += normalized(3, inputs, filters) + normalized(1, inputs, filters) + 4 * filters
            inputs = filters
        return total

    total, inputs = 0, channels
    for level in range(levels):
        filters = first * 2**level
        total += block(inputs, filters)
        inputs = sum(multires_filters(filters))
        if level < levels - 1:
            total += path(inputs, filters, levels - level)
    for level in reversed(range(levels - 1)):
        filters = first * 2**level
        total += 4 * inputs * filters + filters + block(2 * filters, filters)
        inputs = sum(multires_filters(filters))
    return total + inputs * classes + classes


@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize(("first", "channels", "classes"), [(4, 1, 1), (7, 3, 5)])
def test_parameter_count(levels: int, first: int, channels: int, classes: int) -> None:
    config = _config(
        num_layers=levels, base_filters=first, image_channels=channels, num_classes=classes
    )
    assert build_model(config).count_params() == _parameters(levels, first, channels, classes)


def test_too_few_filters_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"base_filters = 3 leaves a convolution.*4 or more"):
        build_model(_config(base_filters=3))
