"""A path to nothing gets the one that was meant, if there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.near_paths import check_path
from support import flexseg


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("dataset/imges", "dataset/images"),
        ("datasets/images", "dataset/images"),
        ("DATASET/images", "dataset/images"),
        ("dataset/images/case_1.jpg", "dataset/images/case_1.png"),
    ],
)
def test_the_nearest_name_in_the_folder_around_it(
    given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dataset/images").mkdir(parents=True)
    (tmp_path / "dataset/images/case_1.png").touch()
    monkeypatch.chdir(tmp_path)
    if not Path(given).exists():  # letter case tells nothing on some systems
        assert check_path(tmp_path / given) == f"Did you mean {Path(meant)}?"
        assert check_path(Path(given)) == f"Did you mean {Path(meant)}?"


def test_nothing_is_near(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / ".dataset").mkdir()
    (tmp_path / "a.toml").touch()
    for given in ("c.toml", "results", "dataset/masks", "data/masks", "data/a/b/c"):
        assert check_path(tmp_path / given) == "Check the path."
    assert check_path(tmp_path / "x", "Give another.") == "Give another."


def test_commands_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "flexseg.toml").touch()
    for command, meant in (
        (("stats", "datset"), "dataset"),
        (("check", "flexsg.toml"), "flexseg.toml"),
        (("infer", "flexseg.tml"), "flexseg.toml"),
        (("runs", "dataste"), "dataset"),
    ):
        assert flexseg(*command) in (2, 3)
        assert f"Did you mean {meant}?" in capsys.readouterr().err
