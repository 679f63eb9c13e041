"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexseg.backend import select
from synthetic import write_dataset

select(os.environ.get("KERAS_BACKEND", "tensorflow"))

import keras  # noqa: E402 - the engine had to be chosen first

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(autouse=True)
def float32() -> None:
    """Each test starts in float32, whatever precision the one before has set."""
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def shared() -> Path:
    """The folder of real data, published outputs and parity files beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"the reference data ({SHARED.name}/ beside the project) are absent")
    return SHARED


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """`write_dataset` into a folder `dataset` (or `name=`) of the test's own."""

    def make(splits: dict[str, int] | None = None, name: str = "dataset", **options: Any) -> Path:
        return write_dataset(tmp_path / name, splits, **options)

    return make
