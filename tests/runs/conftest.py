"""Run folders that tests of several files read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

OLD_RUNS = Path(__file__).parents[1] / "old_runs"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Runs of an earlier state of flexseg, moved to a folder of the test.

    `three.config` trains three classes into the folder itself; `one.toml` one class of a hashed
    split into `one_run`, as 2 folds into `one_folds`; `own.toml` the network of `own_network.py`
    into `own_run`.
    """
    with zipfile.ZipFile(OLD_RUNS / "study.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path / "study"
