"""UNet++: the contract, its nodes, and where it is supervised."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from contract import ModelContract

from flexseg.config.model import ModelConfig
from flexseg.config.network_options import parse_section
from flexseg.errors import ConfigError
from flexseg.models.build import build_model, check_architecture


class TestUNetPlusPlus(ModelContract):
    name = "UNet++"


def _config(**keys: Any) -> ModelConfig:
    base = {"model": "UNetPlusPlus", "image_width": 16, "image_height": 16, "base_filters": 4}
    return parse_section(base | keys)


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_nodes_form_a_triangle(levels: int) -> None:
    """Node (i, j) sees all nodes of its row before it, and the one below."""
    model = build_model(_config(num_layers=levels))
    joined = [x for x in model.layers if isinstance(x, keras.layers.Concatenate)]
    assert len(joined) == levels * (levels - 1) // 2
    widths = sorted((x.output.shape[1], len(x.input)) for x in joined)
    expected = sorted(
        (16 // 2**row, column + 1) for column in range(1, levels) for row in range(levels - column)
    )
    assert widths == expected


def test_the_first_row_is_supervised_at_full_resolution() -> None:
    model = build_model(_config(num_layers=4))
    shapes = [model.get_layer(f"decoder_{i}").output.shape[1:] for i in range(3)]
    assert shapes == [(16, 16, 4)] * 3


def test_dropout_grows_with_the_level() -> None:
    model = build_model(_config(num_layers=3, dropout_rate=0.1))
    rates = sorted(x.rate for x in model.layers if isinstance(x, keras.layers.Dropout))
    assert rates == pytest.approx([0.1, 0.1, 0.2])
    with pytest.raises(ConfigError, match=r"would reach 1\.00"):
        check_architecture(_config(num_layers=3, dropout_rate=0.5))
