"""[model]: the keys of every network, the options of one, and those of others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flexseg.config import Experiment, Severity, load
from flexseg.config.model import ModelConfig
from flexseg.config.network_options import NETWORKS, parse_section, with_options
from flexseg.config.text import write_config
from flexseg.errors import ConfigError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a config with a section [model]."""

    def write_config(keys: str, name: str = "a.toml") -> Path:
        path = tmp_path / name
        path.write_text(f"[model]\n{keys}\n", encoding="utf-8")
        return path

    return write_config


def test_options_have_the_defaults_of_their_network(write: Write) -> None:
    model = load(write('model = "SwinUNet"\ndepth = 3')).experiment.model
    values = model.model_dump()
    assert type(model) is NETWORKS.get("SwinUNet")
    assert (values["depth"], values["patch_size"]) == (3, (4, 4))
    assert "num_layers" not in values


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("a.toml", "depth = 1", "1 given: input should be greater than or equal to 2."),
        ("a.toml", "dept = 3", "[model] has no key 'dept'."),
        ("a.config", "depth = 1", "1 given: input should be greater than or equal to 2."),
    ],
)
def test_wrong_options_are_errors(write: Write, name: str, keys: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(f'model = "SwinUNet"\n{keys}', name))
    assert caught.value.problem == message
    assert name in str(caught.value.where) and "[model] dept" in str(caught.value.where)


def test_a_misspelt_option_gets_the_nearest_of_its_network(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write('model = "SwinUNet"\ndept = 3'))
    assert caught.value.fix == "Did you mean 'depth'?"


def test_an_option_in_another_section_is_sent_home(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write("[train]\nstage_features = [4, 8]"))
    assert caught.value.fix == "The key belongs in [model]."


@pytest.mark.parametrize("name", ["a.toml", "a.config"])
def test_options_of_other_networks_are_noted_and_left_out(write: Write, name: str) -> None:
    loaded = load(write('model = "BASNet"\nnum_classes = 2\nstack_num_up = 3', name))
    (note,) = (f for f in loaded.findings if f.code == "unread-key")
    assert note.severity is Severity.NOTE
    assert note.what == (
        "Without effect: BASNet reads base_filters; stack_num_up is an option of SwinUNet and "
        "TransUNet."
    )
    assert "model.stack_num_up" not in loaded.sources
    assert "stack_num_up" not in loaded.experiment.model.model_dump()


def test_a_file_among_the_options_is_relative_to_the_config(write: Write, tmp_path: Path) -> None:
    loaded = load(write('model = "EncoderUNet"\nweights = "w/encoder.h5"'))
    assert loaded.experiment.model.model_dump()["weights"] == tmp_path / "w" / "encoder.h5"
    (tmp_path / "new").mkdir()
    write_config(tmp_path / "new" / "b.toml", loaded)
    assert 'weights = "../w/encoder.h5"' in (tmp_path / "new" / "b.toml").read_text()
    none = load(write('model = "EncoderUNet"'), ["model.weights=none"])
    assert none.experiment.model.model_dump()["weights"] is None


def test_the_section_of_an_older_manifest_names_the_options_of_all_networks() -> None:
    everything: dict[str, Any] = dict.fromkeys(NETWORKS.option_names())
    own = NETWORKS.get("UNet")(num_layers=4).model_dump(mode="json")
    experiment = Experiment.model_validate({"model": everything | own | {"model": "UNet"}})
    assert experiment.model == NETWORKS.get("UNet")(model="UNet", num_layers=4)
    assert experiment.model_dump()["model"]["num_layers"] == 4


def test_a_section_with_a_key_of_no_network_is_refused() -> None:
    with pytest.raises(ValidationError, match="num_layer"):
        parse_section({"model": "UNet", "num_layer": 4})


def test_options_are_typed_when_the_network_is_needed() -> None:
    raw = ModelConfig.model_validate({"model": "ResEncUNet", "stage_features": 8, "depth": 3})
    typed = with_options(raw)
    assert typed.model_dump()["stage_features"] == [8]
    assert with_options(typed) is typed


def test_every_network_is_known_by_all_its_names() -> None:
    assert NETWORKS.section_of("tensorflowflexswinunet") is NETWORKS.get("SwinUNet")
    assert NETWORKS.section_of("no such network") is ModelConfig


def test_without_the_networks_a_config_is_read_without_keras(write: Write) -> None:
    path = write('model = "SwinUNet"\ndepth = 3')
    code = (
        "import sys\nfrom pathlib import Path\nfrom flexseg.config import load\n"
        f"experiment = load(Path({str(path)!r})).experiment\n"
        "assert experiment.model.model_dump()['depth'] == 3\n"
        "sys.exit(', '.join({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stderr
