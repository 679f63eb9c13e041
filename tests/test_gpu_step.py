"""The benchmark of accelerators works where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu_step(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_step

    return gpu_step


def test_a_step_is_timed(gpu_step: Any) -> None:
    pytest.importorskip("jax")
    options = ["--only=ours", "--batch=2", "--size=32", "--levels=2", "--steps=1"]
    result = subprocess.run(
        [sys.executable, gpu_step.__file__, *options],
        capture_output=True, text=True, check=True, env=os.environ | {"KERAS_BACKEND": "jax"},
    )  # fmt: skip
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["step"] > 0
    assert found["precision"] in ("float32", "mixed_bfloat16")


def test_sizes_double_until_memory_ends(
    gpu_step: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def fake(options: list[str]) -> dict[str, Any]:
        if "--only=matrix" in options:
            return {"rate": 1000.0}
        name, count = options[0].removeprefix("--only="), int(options[1].split("=")[1])
        asked.append((name, count))
        if count > {"ours": 4, "torch": 2}[name]:
            return {"out_of_memory": True}
        return {"step": count / 10, "memory": None, "device": "GPU", "precision": "bfloat16"}

    monkeypatch.setattr(gpu_step, "in_process", fake)
    monkeypatch.setattr(gpu_step.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(sys, "argv", ["gpu_step.py", "--size", "256"])
    gpu_step.main()
    both = [("ours", 1), ("torch", 1), ("ours", 2), ("torch", 2), ("ours", 4), ("torch", 4)]
    assert asked == [*both, ("ours", 8)]
    printed = capsys.readouterr().out
    assert "10.0 images/s" in printed
    assert printed.count("out of memory") == 2
