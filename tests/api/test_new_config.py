"""`flexseg.init` writes what the command writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import flexseg
from flexseg.planning.initialize import initialize


def test_the_config_is_that_of_the_command(
    make_dataset: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset()
    path = flexseg.init(str(dataset), tmp_path / "a", size=64)
    assert path == tmp_path / "a" / "flexseg.toml"
    (other, *_) = initialize(dataset, tmp_path / "b", size=64)
    assert path.read_bytes() == other.read_bytes()
    assert flexseg.load_config(path).experiment.model.image_width == 64
    assert capfd.readouterr() == ("", "")


def test_a_config_that_is_there_stays(make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "flexseg.toml").write_text("mine")
    with pytest.raises(flexseg.ConfigError, match="There is already a config"):
        flexseg.init(make_dataset(), str(tmp_path))
    assert (tmp_path / "flexseg.toml").read_text() == "mine"


def test_a_folder_without_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(flexseg.DataError):
        flexseg.init(tmp_path / "missing", tmp_path / "project")
    assert not (tmp_path / "project").exists()
