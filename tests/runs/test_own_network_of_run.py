"""A package of a user's own network, whose code the config or the manifest of its run must name."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flexseg.cli import main
from flexseg.config import load
from flexseg.runs.manifest import Manifest, trained_own_network


@pytest.fixture
def config(study: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A config whose run was trained with another network than it says, by `--set`."""
    path = study / "own.toml"
    text = path.read_text(encoding="utf-8").replace('"own_network:build"', '"UNet"')
    path.write_text(text, encoding="utf-8")
    note(path, path.parent / "own_run" / "run.json")
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("own_network", None)
    yield path
    sys.modules.pop("own_network", None)


def note(config: Path, manifest: Path) -> None:
    """Let the manifest know the content of the config."""
    content = json.loads(manifest.read_text(encoding="utf-8"))
    content["config_sha256"] = hashlib.sha256(config.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(content), encoding="utf-8")


def trusted(config: Path, name: str = "own_network:build") -> bool:
    loaded = load(config)
    return trained_own_network(name, loaded.path, loaded.experiment.train.run_dir)


def infer(config: Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["infer", str(config)])
    return int(caught.value.code or 0)


def test_the_manifest_of_the_run_names_it(config: Path) -> None:
    assert trusted(config) and not trusted(config, "another:build")
    assert infer(config) == 0
    assert "own_network" in sys.modules
    assert list((config.parent / "own_run" / "predictions").iterdir())


@pytest.mark.parametrize(
    "lost", ["absent", "damaged", "of another config", "from elsewhere", "without a hash"]
)
def test_without_it_no_code_is_run(
    config: Path, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = config.parent / "own_run" / "run.json"
    if lost == "absent":
        manifest.unlink()
    elif lost == "damaged":
        manifest.write_text("{", encoding="utf-8")
    elif lost == "from elsewhere":
        elsewhere = config.parent / "elsewhere" / config.name
        elsewhere.parent.mkdir()
        elsewhere.write_text("[model]\n", encoding="utf-8")
        note(elsewhere, manifest)
    elif lost == "without a hash":
        content = json.loads(manifest.read_text(encoding="utf-8"))
        del content["config_sha256"]
        manifest.write_text(json.dumps(content), encoding="utf-8")
    else:
        config = shutil.copy(config, config.with_name("other.toml"))
    assert not trusted(config)
    assert infer(config) == 3
    assert "own_network:build" in " ".join(capsys.readouterr().err.split())
    assert "own_network" not in sys.modules


def test_a_new_manifest_knows_its_config(config: Path, tmp_path: Path) -> None:
    loaded = load(config)
    Manifest.start(tmp_path, loaded).write(status="finished")
    known = hashlib.sha256(config.read_bytes()).hexdigest()
    assert Manifest.read(tmp_path).config_sha256 == known


def test_a_network_of_the_registry_does_not_ask_for_the_manifest(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "one_run" / "run.json").write_text("{", encoding="utf-8")
    assert infer(study / "one.toml") == 0
    assert "manifest" not in capsys.readouterr().err
