"""A package of a user's own network, whose code the config or the manifest of its run must name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flexseg.cli import main
from flexseg.config import load
from flexseg.runs.manifest import own_network_of_run


@pytest.fixture
def config(study: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A config whose run was trained with another network than it says, by `--set`."""
    path = study / "own.toml"
    text = path.read_text(encoding="utf-8").replace('"own_network:build"', '"UNet"')
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("own_network", None)
    yield path
    sys.modules.pop("own_network", None)


def named(config: Path) -> str | None:
    loaded = load(config)
    return own_network_of_run(loaded.path, loaded.experiment.train.run_dir)


def infer(config: Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["infer", str(config)])
    return int(caught.value.code or 0)


def test_the_manifest_of_the_run_names_it(config: Path) -> None:
    assert named(config) == "own_network:build"
    assert infer(config) == 0
    assert "own_network" in sys.modules
    assert list((config.parent / "own_run" / "predictions").iterdir())


@pytest.mark.parametrize("lost", ["absent", "damaged", "of another config"])
def test_without_it_no_code_is_run(
    config: Path, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = config.parent / "own_run" / "run.json"
    if lost == "absent":
        manifest.unlink()
    elif lost == "damaged":
        manifest.write_text("{", encoding="utf-8")
    else:
        config = shutil.copy(config, config.with_name("other.toml"))
    assert named(config) is None
    assert infer(config) == 3
    assert "own_network:build" in " ".join(capsys.readouterr().err.split())
    assert "own_network" not in sys.modules


def test_another_network_of_the_manifest_is_not_trusted(study: Path) -> None:
    assert named(study / "three.config") is None
