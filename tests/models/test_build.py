"""Networks by name: their spellings, and the function for users of Keras."""

from __future__ import annotations

from typing import Any

import pytest

from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.models import build_model
from flexseg.models.build import parameter_count


def _config(model: str, **keys: Any) -> ModelConfig:
    return ModelConfig.model_validate(
        {"model": model, "image_width": 12, "image_height": 8, "num_layers": 2, "base_filters": 4}
        | keys
    )


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "UNet",
            "unet",
            "TensorFlowFlexUNet",
            "TensorflowUNet",
            "TensorflowSlightlyFlexibleUNet",
            "FlexUNet",
        ],
    )
    def test_all_names_of_the_unet(self, name: str) -> None:
        assert build_model(_config(name)).name == "unet"
        assert build_model(_config(name)).output_shape == (None, 8, 12, 2)

    def test_unknown_name_gets_the_nearest(self) -> None:
        with pytest.raises(ConfigError) as caught:
            build_model(_config("TensorFlowFlexUNt"))
        assert "'TensorFlowFlexUNt' is not a known model" in caught.value.problem
        assert "Nearest names: tensorflowflexunet" in caught.value.fix

    def test_name_without_resemblance_lists_all(self) -> None:
        with pytest.raises(ConfigError, match=r"Known: .*UNet"):
            build_model(_config("qqqq"))


@pytest.mark.parametrize("name", ["unet", "resencunet", "segformer"])
def test_parameters_are_counted_without_building(name: str) -> None:
    config = _config(name, image_width=64, image_height=64, num_layers=3)
    assert parameter_count(config) == build_model(config).count_params()


def test_a_network_that_no_machine_holds_is_counted() -> None:
    assert parameter_count(_config("unet", base_filters=10**9)) > 10**18


class TestKeys:
    def test_a_name_and_keys_make_a_network(self) -> None:
        model = build_model("unet", image_width=16, image_height=8, num_classes=3, num_layers=2)
        assert (model.name, model.output_shape) == ("unet", (None, 8, 16, 3))

    @pytest.mark.parametrize(
        ("keys", "problem"),
        [
            ({"base_filter": 4}, "no key 'base_filter'"),
            ({"depth": 4}, "no key 'depth'"),
            ({"base_filters": 0}, "0 given: input should be greater than 0"),
            ({"num_classes": "many"}, "'many' given"),
        ],
    )
    def test_wrong_keys_and_values(self, keys: dict[str, Any], problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            build_model("UNet", **keys)

    def test_an_option_that_is_misspelt_gets_the_nearest(self) -> None:
        with pytest.raises(ConfigError) as caught:
            build_model("UNet", base_filter=4)
        assert caught.value.fix == "Did you mean 'base_filters'?"
