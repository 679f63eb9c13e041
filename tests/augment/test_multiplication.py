"""What is made of each training case."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg.augment.multiplication import Multiplication
from flexseg.cli import augment as _command  # noqa: F401 - registers it
from flexseg.config import load


def test_variants_of_one_name_are_made_once(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = ["augmentor.rotation=true", "augmentor.angles=[90, 90.0, 180]"]
    e = load(config, options).experiment
    plan = Multiplication.from_config(0, e.augmentation, e.variants)
    assert [v.prefix for v in plan.variants if "rot" in v.prefix] == ["rotated_90_", "rotated_180_"]
    assert "rotated_90_" in caplog.text
