"""What a path of the command line means."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.errors import ConfigError, DataError
from flexseg.runs.given import Given, find_given


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("names", "given", "found"),
    [
        (["a.toml"], "a.toml", {"config": "a.toml"}),
        (["train_eval_infer.config"], ".", {"config": "train_eval_infer.config"}),
        (["flexseg.toml", "best.toml", "run/run.json"], ".", {"config": "flexseg.toml"}),
        (["run.json", "a.toml"], ".", {"run": "."}),
        (["run.json"], "run.json", {"run": "."}),
        (["run/run.json"], ".", {"run": "run"}),
        (["history.json"], ".", {"run": "."}),
        (["evaluation/summary.json"], ".", {"run": "."}),
        (["best_model.h5"], "best_model.h5", {"model": "best_model.h5"}),
        (["other.HDF5"], "other.HDF5", {"model": "other.HDF5"}),
        (["ensemble.json", "members/a.h5"], ".", {"model": "ensemble.json"}),
        (
            ["run.json", "models/best_model.h5", "models/a.toml"],
            "models",
            {"run": ".", "model": "models/best_model.h5"},
        ),
        (["summary.json", "cases.csv"], ".", {"evaluation": "."}),
    ],
)
def test_what_lies_there(
    tmp_path: Path, names: list[str], given: str, found: dict[str, str]
) -> None:
    write(tmp_path, *names)
    places = {kind: tmp_path / name for kind, name in found.items()}
    assert find_given(tmp_path / given) == Given(tmp_path / given, **places)


def test_nothing_or_several(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing made by flexseg in this folder"):
        find_given(tmp_path)
    write(tmp_path, "a.toml", "b.config")
    with pytest.raises(ConfigError, match=r"2 configs in this folder: a\.toml, b\.config"):
        find_given(tmp_path)
    with pytest.raises(ConfigError, match=r"no such file or folder.*has a\.toml, b\.config"):
        find_given(tmp_path / "c.toml")
    (tmp_path / "link.h5").symlink_to(tmp_path / "gone.h5")
    with pytest.raises(DataError, match="link"):
        find_given(tmp_path / "link.h5", "--from")


def test_what_is_needed_instead(tmp_path: Path) -> None:
    write(tmp_path, "cases.csv")
    error = find_given(tmp_path).lacks("a config")
    assert error.problem == "This is the folder of an evaluation, but a config is needed."
