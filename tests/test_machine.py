"""Memory and cores by the tightest of the limits of machine and containers, and room on the disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from flexseg.machine import (
    available_memory,
    free_disk,
    largest_file,
    process_age,
    size_text,
    taken_by_others,
    total_memory,
    typed,
    typed_command,
    usable_cores,
)
from support import quota


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("0::/job/step", {"job/memory.max": "1048576", "job/step/memory.max": "max"}),
        ("0::/job/step", {"job/memory.max": "max", "job/step/memory.max": "1048576"}),
        ("0::/", {"memory.max": "1048576"}),
        (
            "5:cpu,memory:/slurm/job\n1:name=systemd:/x",
            {"memory/slurm/memory.limit_in_bytes": "1048576",
             "memory/slurm/job/memory.limit_in_bytes": "9223372036854771712"},
        ),
    ],
)  # fmt: skip
def test_the_tightest_of_nested_groups_counts(
    tmp_path: Path, group: str, files: dict[str, str]
) -> None:
    _write(tmp_path / "proc/self/cgroup", f"{group}\n")
    for name, text in files.items():
        _write(tmp_path / "sys/fs/cgroup" / name, text)
    assert total_memory(tmp_path) == 2**20


def test_without_groups_the_machine_counts(tmp_path: Path) -> None:
    installed = total_memory(tmp_path)
    assert installed is None or installed > 2**28


@pytest.mark.parametrize(
    ("group", "folder", "limit", "used"),
    [
        ("0::/", "", "memory.max", "memory.current"),
        ("0::/job/step", "job", "memory.max", "memory.current"),
        ("5:cpu,memory:/job", "memory/job", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ],
)
def test_available_memory_is_bounded_by_the_container(
    tmp_path: Path, group: str, folder: str, limit: str, used: str
) -> None:
    assert available_memory(tmp_path) is None
    _write(tmp_path / "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 1000 kB\n")
    assert available_memory(tmp_path) == 1000 * 1024
    _write(tmp_path / "proc/self/cgroup", f"{group}\n")
    files = tmp_path / "sys/fs/cgroup" / folder
    _write(files / used, "600000\n")
    _write(files / limit, "max\n")
    assert available_memory(tmp_path) == 1000 * 1024
    _write(files / limit, "700000\n")
    assert available_memory(tmp_path) == 100_000
    _write(files / limit, "500000\n")
    assert available_memory(tmp_path) == 0


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/job", {"job/cpu.max": "200000 100000", "cpu.max": "max 100000"}, 2),
        ("0::/job", {"job/cpu.max": "max 100000", "cpu.max": "50000 100000"}, 1),
        ("0::/job", {"job/cpu.max": "max 100000"}, 8),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
         3),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)  # fmt: skip
def test_cores_are_those_of_the_container(
    tmp_path: Path,
    group: str,
    files: dict[str, str],
    cores: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    _write(tmp_path / "proc/self/cgroup", f"{group}\n")
    for name, text in files.items():
        _write(tmp_path / "sys/fs/cgroup" / name, f"{text}\n")
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("got", "taken"), [(2.0, 0.0), (0.5, 0.75), (2.1, 0.0)])
def test_what_threads_do_not_get_is_taken_by_others(got: float, taken: float) -> None:
    assert taken_by_others(lambda: (got, 2.0)) == pytest.approx(taken)


def test_room_on_the_disk_is_that_where_a_path_will_lie(tmp_path: Path) -> None:
    free = free_disk(tmp_path / "not" / "yet" / "there.h5")
    assert free is not None and free > 0


def test_largest_file_is_that_of_ulimit() -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    with quota(resource, 10_000_000):
        assert largest_file() == 10_000_000


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1023, "1023 bytes"),
        (1024, "1.00 KiB"),
        (15 * 2**20 + 2**19, "15.5 MiB"),
        (240 * 2**30, "240 GiB"),
        (1000 * 2**30, "1,000 GiB"),
        (10**400, "909,494,701,772,928,256 TiB"),
    ],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("text", "on_posix", "on_windows"),
    [
        ("plan/flexseg.toml", "plan/flexseg.toml", "plan/flexseg.toml"),
        ("Größe (Übung 1)/a.toml", "'Größe (Übung 1)/a.toml'", '"Größe (Übung 1)/a.toml"'),
        ("it's.toml", "'it'\"'\"'s.toml'", '"it\'s.toml"'),
        ("{id}_*", "'{id}_*'", '"{id}_*"'),
    ],
)
def test_paths_are_quoted_as_the_terminal_needs_it(
    text: str, on_posix: str, on_windows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for system, expected in (("posix", on_posix), ("nt", on_windows)):
        monkeypatch.setattr("flexseg.machine.os.name", system)
        quoted = typed(text)
        monkeypatch.undo()
        assert quoted == expected


def test_a_process_has_an_age(tmp_path: Path) -> None:
    fields = " ".join(["S", *["0"] * 18, "12000", "0"])
    _write(tmp_path / "proc/self/stat", f"7 (a (b) c) {fields}")
    _write(tmp_path / "proc/uptime", "123.50 99.0")
    ticks = os.sysconf("SC_CLK_TCK")
    assert process_age(tmp_path) == pytest.approx(123.5 - 12000 / ticks)
    assert process_age(tmp_path / "nothing") == 0.0


@pytest.mark.skipif(os.name == "nt", reason="scripts have other names")
def test_a_command_is_typed_with_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, program = tmp_path / ".venv/bin/python", tmp_path / ".venv/bin/flexseg"
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert typed_command("infer", Path("a b")) == f"{python} -m flexseg infer 'a b'"
    _write(program, "")
    program.chmod(0o755)
    assert typed_command("doctor") == ".venv/bin/flexseg doctor"
    monkeypatch.chdir(tmp_path / ".venv")
    assert typed_command("doctor") == "bin/flexseg doctor"
    monkeypatch.setenv("PATH", str(program.parent))
    assert typed_command("doctor") == "flexseg doctor"
