"""Networks by name, and networks of the user's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.models.build import build_model, parameter_count

OWN = """
import keras

def build(config):
    inputs = keras.Input((config.image_height, config.image_width, config.image_channels))
    x = keras.layers.Conv2D(config.num_classes, 3, padding="same", activation="softmax")(inputs)
    return keras.Model(inputs, x, name="own")

def too_many_classes(config):
    inputs = keras.Input((config.image_height, config.image_width, config.image_channels))
    return keras.Model(inputs, keras.layers.Conv2D(7, 1)(inputs))

def no_model(config):
    return "a model"

class Subclassed(keras.Model):
    def call(self, x):
        return x

def never_built(config):
    return Subclassed()

constant = 3
"""


def _config(model: str, **keys: Any) -> ModelConfig:
    return ModelConfig.model_validate(
        {"model": model, "image_width": 12, "image_height": 8, "num_layers": 2, "base_filters": 4}
        | keys
    )


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """A function that writes a module into `tmp_path`; it is forgotten afterwards."""
    path, modules = list(sys.path), set(sys.modules)

    def write(text: str) -> str:
        name = f"own_{abs(hash(tmp_path))}"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("own_"):
            del sys.modules[name]


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
        assert "'TensorFlowFlexUNt' is no known model" in caught.value.problem
        assert "Nearest names: tensorflowflexunet" in caught.value.fix

    def test_name_without_resemblance_lists_all(self) -> None:
        with pytest.raises(ConfigError, match=r"Known: .*UNet"):
            build_model(_config("qqqq"))


class TestOwnNetwork:
    def test_found_beside_the_config(self, tmp_path: Path, module: Callable[[str], str]) -> None:
        model = build_model(_config(f"{module(OWN)}:build", num_classes=4), tmp_path)
        assert model.name == "own"
        assert model.output_shape == (None, 8, 12, 4)

    def test_not_searched_without_a_folder(self, module: Callable[[str], str]) -> None:
        with pytest.raises(
            ConfigError, match=r"cannot be imported \(ModuleNotFoundError: No module named 'own_"
        ):
            build_model(_config(f"{module(OWN)}:build"))

    def test_module_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            build_model(_config("no_such_package.sub:build"), tmp_path)
        assert "No module named 'no_such_package'" in caught.value.problem
        assert "beside the config file" in caught.value.fix

    @pytest.mark.parametrize("attribute", ["biuld", "constant", ""])
    def test_attribute_that_is_no_function(
        self, tmp_path: Path, module: Callable[[str], str], attribute: str
    ) -> None:
        with pytest.raises(ConfigError, match=f"has no function '{attribute}'"):
            build_model(_config(f"{module(OWN)}:{attribute}"), tmp_path)

    def test_error_inside_of_the_module_is_named(
        self, tmp_path: Path, module: Callable[[str], str]
    ) -> None:
        name = module("import keras\nkeras.layerz\ndef build(config): ...\n")
        with pytest.raises(ConfigError, match=r"AttributeError.*layerz"):
            build_model(_config(f"{name}:build"), tmp_path)

    def test_error_inside_of_the_function_is_named(
        self, tmp_path: Path, module: Callable[[str], str]
    ) -> None:
        name = module("def build(config):\n    return 1 / 0\n")
        with pytest.raises(ConfigError, match=r"build fails \(ZeroDivisionError"):
            build_model(_config(f"{name}:build"), tmp_path)

    @pytest.mark.parametrize(
        ("attribute", "found"),
        [
            ("too_many_classes", r"\(None, 8, 12, 7\)"),
            ("no_model", "str"),
            ("never_built", "Subclassed"),
        ],
    )
    def test_result_of_another_shape(
        self, tmp_path: Path, module: Callable[[str], str], attribute: str, found: str
    ) -> None:
        with pytest.raises(ConfigError, match=rf"returned {found}, .* output \(None, 8, 12, 2\)"):
            build_model(_config(f"{module(OWN)}:{attribute}"), tmp_path)


@pytest.mark.parametrize("name", ["unet", "resencunet", "segformer"])
def test_parameters_are_counted_without_building(name: str) -> None:
    config = _config(name, image_width=64, image_height=64, num_layers=3)
    assert parameter_count(config) == build_model(config).count_params()


def test_a_network_that_no_machine_holds_is_counted() -> None:
    assert parameter_count(_config("unet", base_filters=10**9)) > 10**18
