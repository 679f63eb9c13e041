"""The dataset that tests augment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from augmented import CONFIG

from flexseg.cli import augment as _command  # noqa: F401 - registers it


@pytest.fixture
def config(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    make_dataset({"train": 6, "valid": 2}, classes=3)
    path = tmp_path / "a.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path
