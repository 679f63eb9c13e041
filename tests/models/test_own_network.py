"""Networks of the user's own: how they are found, what they take, and their errors."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flexseg.config.load import load
from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.models.build import build_model

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


OPTIONS = """
import keras
from pydantic import Field

from flexseg.config.model import NetworkConfig


class Options(NetworkConfig):
    width: int = Field(6, gt=0, description="Filters of the hidden layer.")


def build(config: Options) -> keras.Model:
    inputs = keras.Input((config.image_height, config.image_width, config.image_channels))
    x = keras.layers.Conv2D(config.width, 3, padding="same", name="hidden")(inputs)
    outputs = keras.layers.Conv2D(config.num_classes, 1, activation="softmax")(x)
    return keras.Model(inputs, outputs)


def unclear(config: "Option") -> keras.Model: ...
"""


class TestOptions:
    """What a builder's annotation says that it reads."""

    @pytest.mark.parametrize(("keys", "width"), [({}, 6), ({"width": 9}, 9)])
    def test_an_option_reaches_the_builder(
        self, tmp_path: Path, module: Callable[[str], str], keys: dict[str, Any], width: int
    ) -> None:
        model = build_model(f"{module(OPTIONS)}:build", tmp_path, image_width=8, **keys)
        assert model.get_layer("hidden").filters == width

    @pytest.mark.parametrize(
        ("key", "value", "problem"),
        [
            ("width", 0, "0 given: input should be greater than 0"),
            ("wdth", 4, "has no key 'wdth'"),
            ("base_filters", 4, "has no key 'base_filters'"),
        ],
    )
    def test_wrong_keys_and_values(
        self, tmp_path: Path, module: Callable[[str], str], key: str, value: int, problem: str
    ) -> None:
        with pytest.raises(ConfigError, match=problem):
            build_model(f"{module(OPTIONS)}:build", tmp_path, **{key: value})

    def test_without_an_annotation_the_options_are_those_of_the_unet(
        self, tmp_path: Path, module: Callable[[str], str]
    ) -> None:
        name = f"{module(OWN)}:build"
        build_model(name, tmp_path, base_filters=4, dropout_rate=0.1)
        with pytest.raises(ConfigError) as caught:
            build_model(name, tmp_path, base_filter=4)
        assert caught.value.fix == "Did you mean 'base_filters'?"

    def test_an_annotation_that_means_nothing(
        self, tmp_path: Path, module: Callable[[str], str]
    ) -> None:
        with pytest.raises(ConfigError, match="'Option' is not defined"):
            build_model(f"{module(OPTIONS)}:unclear", tmp_path)


class TestConfigFile:
    """What a command reads of a config that names a network of the user's own."""

    def write(self, folder: Path, name: str, keys: str, file: str = "a.toml") -> Path:
        path = folder / file
        path.write_text(f'[model]\nmodel = "{name}"\n{keys}\n', encoding="utf-8")
        return path

    def test_options_are_typed_and_defaults_filled_in(
        self, tmp_path: Path, module: Callable[[str], str]
    ) -> None:
        path = self.write(tmp_path, f"{module(OPTIONS)}:build", "num_classes = 3")
        assert load(path, run_code=True).experiment.model.model_dump()["width"] == 6

    def test_unknown_and_foreign_keys_are_told(
        self, tmp_path: Path, module: Callable[[str], str]
    ) -> None:
        name = f"{module(OPTIONS)}:build"
        with pytest.raises(ConfigError) as caught:
            load(self.write(tmp_path, name, "wdth = 4"), run_code=True)
        assert caught.value.fix == "Did you mean 'width'?"
        loaded = load(self.write(tmp_path, name, "depth = 4"), run_code=True)
        (note,) = loaded.findings
        assert note.code == "unread-key"
        assert note.what == f"Without effect: {name} reads width; depth is an option of SwinUNet."

    def test_in_an_old_config_an_unknown_key_is_ignored_with_a_warning(
        self, tmp_path: Path, module: Callable[[str], str]
    ) -> None:
        path = self.write(tmp_path, f"{module(OPTIONS)}:build", "wdth = 4", "a.config")
        loaded = load(path, run_code=True)
        assert [f.code for f in loaded.findings] == ["unknown-key"]
        assert build_model(loaded.experiment.model, tmp_path).get_layer("hidden").filters == 6

    def test_no_code_runs_unless_asked_for(self, tmp_path: Path) -> None:
        (tmp_path / "own_evil.py").write_text("raise SystemExit('executed')\n", encoding="utf-8")
        loaded = load(self.write(tmp_path, "own_evil:build", "width = 4"))
        assert loaded.experiment.model.model_dump()["width"] == 4
        assert "own_evil" not in sys.modules


def test_the_example_of_the_documentation(tmp_path: Path, module: Callable[[str], str]) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "own-network.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    model = build_model(f"{module(code)}:build", tmp_path, image_width=8, num_classes=3, width=4)
    assert model.output_shape == (None, 512, 8, 3)
    with pytest.raises(ConfigError, match="no key 'height'"):
        build_model(f"{module(code)}:build", tmp_path, height=4)
