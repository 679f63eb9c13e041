"""A short run of `make fuzz`, and that it sees what it looks for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


def _fuzz(folder: Path, configs: int, files: int) -> str:
    options = ["--minutes", "5", "--configs", str(configs), "--files", str(files)]
    done = subprocess.run(
        [sys.executable, RUN, "--folder", folder, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_damaged_files_and_absurd_configs_are_refused_or_read_right(tmp_path: Path) -> None:
    """And a second run goes on where the first has ended."""
    _fuzz(tmp_path, 50, 100)
    lines = _fuzz(tmp_path, 120, 300).splitlines()
    for line, count in zip(lines, (120, 300), strict=True):
        assert f"tried {count}," in line
        assert line.endswith("tracebacks 0, hangs 0, over memory 0, read wrong 0")
    refused = json.loads((tmp_path / "files.json").read_text())["refused"]
    assert refused > 100
    assert not (tmp_path / "failures").exists()


def test_the_server_sees_all_that_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case in its child: an error, one that hangs, one that dies, one of much memory."""
    import fuzz_server
    from fuzz_server import Outcome

    # Long enough for the others on a machine that is busy.
    monkeypatch.setattr(fuzz_server, "SECONDS", 10)
    monkeypatch.setattr(fuzz_server, "MEMORY", 1 << 27)

    def judge(number: int, folder: Path) -> Outcome:
        assert folder.is_dir()
        if number == 1:
            raise IndexError("of case 1")
        if number == 2:
            time.sleep(600)
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 4:
            return Outcome(number, "read", str(len(b"x" * (1 << 28))))
        return Outcome(number, "refused")

    outcomes = list(fuzz_server.run(judge, range(6)))
    assert [o.number for o in outcomes] == list(range(6))
    kinds = ["refused", "traceback", "hang", "traceback", "memory", "refused"]
    assert [o.kind for o in outcomes] == kinds
    assert "of case 1" in outcomes[1].detail
    assert "signal 9" in outcomes[3].detail


@pytest.mark.parametrize(
    ("new", "guarded", "expected"),
    [
        (b"abcdefgh", (), True),
        (b"abc", (), True),
        (b"abXdefgh", ((2, 4),), True),
        (b"abXdXfgh", ((2, 4),), False),
        (b"abXYdefgh", ((2, 4),), True),
        (b"abcdefghX", ((2, 4),), False),
        (b"abefgh", ((2, 4),), True),
        (b"afgh", ((2, 4),), False),
    ],
)
def test_which_changes_must_be_noticed(
    new: bytes, guarded: tuple[tuple[int, int], ...], expected: bool
) -> None:
    from fuzz_mutations import is_guarded

    assert is_guarded(b"abcdefgh", new, guarded) == expected
