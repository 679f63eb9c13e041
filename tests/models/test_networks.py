"""Every module of `models/networks/` is found, registered and tested; a broken one is loud."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from pkgutil import iter_modules
from textwrap import dedent

import pytest
from contract import ModelContract

from flexseg.config.network_options import NETWORKS
from flexseg.errors import ConfigError
from flexseg.models import build_model, networks
from flexseg.models.architecture import MODELS

MODULES = sorted(module.name for module in iter_modules(networks.__path__))
TESTS = Path(__file__).parent / "networks"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is searched for networks as well; what it registers is forgotten."""
    for registry in (MODELS, NETWORKS):
        for name, entries in list(vars(registry).items()):
            monkeypatch.setattr(registry, name, copy(entries))
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
    """The example of the documentation."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "extend.md"
    code, *_ = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "tiny_net.py").write_text(dedent(code), encoding="utf-8")
    assert "TinyNet" not in MODELS
    networks.register_all()
    keys = {"image_width": 7, "image_height": 8, "num_classes": 3}
    assert build_model("tinynet", width=4, **keys).output_shape == (None, 8, 7, 3)
    with pytest.raises(ConfigError, match="TinyNet reads width"):
        build_model("TinyNet", qwertz=4)


def test_an_error_in_a_module_is_raised(folder: Path) -> None:
    (folder / "broken.py").write_text("import no_such_package\n", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        networks.register_all()
