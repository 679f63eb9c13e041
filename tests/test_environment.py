"""What a report of an error says of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexseg import __version__, environment
from flexseg.environment import environment_facts, processor


def test_facts_name_versions_memory_and_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(environment, "total_memory", lambda: 8 * 1024**3)
    monkeypatch.setattr(environment, "available_memory", lambda: 2 * 1024**3)
    facts = environment_facts(tmp_path)
    assert facts["flexseg"].startswith(__version__)
    assert facts["memory"] == "8.00 GiB, 2.00 GiB of it available"
    assert facts["disk"].endswith("free here")
    assert "numpy " in facts["packages"] and "OMP_NUM_THREADS=3" in facts["variables"]
    monkeypatch.setattr(environment, "ENGINES", ("no-such-engine",))
    monkeypatch.setattr(environment, "total_memory", lambda: None)
    without = environment_facts(tmp_path)
    assert without["engines"] == "none" and without["memory"] == "unknown"


def test_the_processor_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("cores: 2\nmodel name\t: A CPU @ 2 GHz\n")
    assert processor(tmp_path) == "A CPU @ 2 GHz"
    assert processor(tmp_path / "elsewhere")
