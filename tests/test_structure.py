"""The script that counts what the structure of the source is judged by."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def structure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import structure

    return structure


def test_known_figures(structure: ModuleType, tmp_path: Path) -> None:
    files = {
        "__init__.py": "",
        "files/read.py": "from typing import Any\n\nclass Reader:\n    at: Any\n",
        "runs/read.py": "class Reader:\n    def f(self, e: LoadedConfig | None):\n"
        + "        pass\n" * 60,
        "cli/read.py": "def f(experiment: Experiment, *, path: Path = root / 'masks'): ...\n",
        "cli/short.py": "def f(*parts: int) -> Experiment:\n" + "    pass\n" * 59,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = structure.figures(structure.read_modules(tmp_path))
    assert found["modules"] == ["cli.read", "cli.short", "files.read", "runs.read"]
    assert len(found["lines"]) == 4 + 62 + 1 + 60
    assert found["functions over 60 lines"] == ["runs.read.f"]
    assert len(found["mentions of Any"]) == 2
    assert found["functions that take the config"] == ["cli.read.f", "runs.read.f"]
    assert found["module names in several packages"] == ["read: files, runs"]
    assert found["class names in several modules"] == ["Reader: files.read, runs.read"]
    assert found["where are images and masks"] == ["cli.read"]
