"""The network that a path means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flexseg.config import load
from flexseg.errors import ConfigError, DataError
from flexseg.runs.manifest import CrossvalRecord, Manifest
from flexseg.runs.trained import TrainedNetwork, find_network

KEY = "--from"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What `flexseg auto` leaves: a config, and a run with a package."""
    config = tmp_path / "flexseg.toml"
    config.write_text("[train]\nrun_dir = 'run'\n", encoding="utf-8")
    run = tmp_path / "run"
    (run / "models").mkdir(parents=True)
    (run / "models/best_model.h5").touch()
    Manifest.start(run, load(config)).write()
    return tmp_path


@pytest.mark.parametrize("given", ["run", "run/models/best_model.h5", "flexseg.toml", "."])
def test_a_run_is_known_by_its_package_folder_or_config(project: Path, given: str) -> None:
    found = find_network(project / given, KEY)
    assert found == TrainedNetwork(project / "run/models/best_model.h5", project / "run")
    assert found.manifest is not None


def test_a_package_may_lie_by_itself_or_where_a_config_says(tmp_path: Path) -> None:
    file = tmp_path / "models/some.h5"
    file.parent.mkdir()
    file.touch()
    assert find_network(file, KEY) == TrainedNetwork(file)
    config = tmp_path / "a.toml"
    config.write_text(
        "[train]\nmodel_dir = 'models'\nbest_model_file = 'some.h5'\n", encoding="utf-8"
    )
    assert find_network(config, KEY).file == file


def test_there_must_be_one(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no such file or folder"):
        find_network(tmp_path / "nothing.h5", KEY)
    (project / "run/models/best_model.h5").unlink()
    for given in ("run", "flexseg.toml"):
        with pytest.raises(DataError, match="no trained network yet"):
            find_network(project / given, KEY)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match=r"run\.json"):
        find_network(empty, KEY)


def test_several_networks_are_none(project: Path, tmp_path: Path) -> None:
    ensemble = tmp_path / "ensemble.json"
    ensemble.write_text(json.dumps({"members": []}), encoding="utf-8")
    Manifest.read(project / "run").write(crossval=CrossvalRecord(folds=2))
    for given in (ensemble, project / "run"):
        with pytest.raises(DataError, match="several networks"):
            find_network(given, KEY)
