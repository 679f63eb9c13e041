"""Fixtures of the tests that ask commands what inputs mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking import Asking

from flexseg.planning import plan as plan_module
from flexseg.planning.timing import StepTime


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are not measured."""
    step = StepTime(0.01, 0.01, 0.004, 1.0, 8, 1000)
    monkeypatch.setattr(plan_module, "time_step", lambda *_, **__: step)


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Asking:
    """Runs commands, see `Asking`."""
    return Asking(tmp_path / "results", capsys)
