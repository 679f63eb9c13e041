"""A few kills, a full disk, and that the scripts see what they look for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


def _run(script: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, FOLDER / script, *options], capture_output=True, text=True, check=False
    )


def test_killed_commands_leave_nothing_half_and_go_on(tmp_path: Path) -> None:
    done = _run("kills.py", "--folder", tmp_path, "--kills", "4", "--commands", "init", "split")
    assert done.returncode == 0, done.stdout + done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith("kills: tried 4, killed") and "killed 0" not in line
    assert line.endswith("cut files 0, lost files 0, not resumed 0, other results 0, tracebacks 0")


@pytest.mark.slow
def test_commands_on_a_full_disk_end_in_a_sentence() -> None:
    done = _run("full_disk.py", "--commands", "schema", "split")
    if done.returncode == 77:
        pytest.skip("this machine lets nobody mount a tmpfs")
    assert done.returncode == 0, done.stdout + done.stderr
    line = done.stdout.splitlines()[-1]
    assert line.startswith(
        "full disk: tried 6, refused 6, room enough 0, unfit 0, other exit codes 0"
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", b'{"a": 1', True),
        ("a.json", b'{"a": 1}', False),
        ("a.csv", b"a,b\n1,", True),
        ("a.csv", b"a,b\n1,2\n", False),
        ("a.png", b"\x89PNG", True),
        ("a.html", b"<html>", True),
        (".part-a.json/a.json", b"{", False),
        ("run_1_bak/a.json", b"{", False),
    ],
)
def test_cut_files_are_seen(tmp_path: Path, name: str, content: bytes, expected: bool) -> None:
    from kills import is_cut

    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert is_cut(path, tmp_path) == expected


def test_only_names_are_compared_where_the_clock_decides(tmp_path: Path) -> None:
    from kills import results_of

    for name in ("trials.csv", "trial_0/history.json"):
        path = tmp_path / "tune" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1\n", encoding="utf-8")
    assert results_of("tune", tmp_path) == {"tune/trials.csv": ""}
    assert all(results_of("train", tmp_path).values()) and len(results_of("train", tmp_path)) == 2
