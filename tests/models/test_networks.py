"""Every module of `models/networks/` is found, registered and tested; a broken one is loud."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from pkgutil import iter_modules

import pytest
from contract import ModelContract

from flexseg.models import networks
from flexseg.models.architecture import MODELS

MODULES = sorted(module.name for module in iter_modules(networks.__path__))
TESTS = Path(__file__).parent / "networks"

TOY = """
import keras

from flexseg.config.model import ModelConfig
from flexseg.models.architecture import register_model


@register_model("ToyNet", paper="Nobody 2000, A toy")
def build_toy(config: ModelConfig) -> keras.Model:
    \"\"\"A network that does nothing.\"\"\"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is searched for networks as well; what it registers is forgotten."""
    for name, entries in list(vars(MODELS).items()):
        monkeypatch.setattr(MODELS, name, copy(entries))
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def _registered_by(module: str) -> set[str]:
    name = f"{networks.__name__}.{module}"
    return {n for n in MODELS if MODELS.get(n).build.__module__ == name}


def _tested_by(file: Path) -> set[str]:
    """The networks whose contract a test file checks."""
    classes = vars(importlib.import_module(file.stem)).values()
    contracts = [c for c in classes if isinstance(c, type) and issubclass(c, ModelContract)]
    return {MODELS.canonical(c.name) for c in contracts if hasattr(c, "name")}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_registers_a_network_whose_test_checks_the_contract(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(TESTS)
    registered = _registered_by(module)
    assert registered
    assert registered <= _tested_by(TESTS / f"test_{module}.py")


def test_a_new_module_is_found(folder: Path) -> None:
    (folder / "toy.py").write_text(TOY, encoding="utf-8")
    assert "ToyNet" not in MODELS
    networks.register_all()
    assert MODELS.get("toynet").summary == "A network that does nothing."


def test_an_error_in_a_module_is_raised(folder: Path) -> None:
    (folder / "broken.py").write_text("import no_such_package\n", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        networks.register_all()
