"""The memory that a program takes, of all that it holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

# A process begins as a copy of the one that starts it, whose memory counts: a small one starts it.
_STARTER = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def peak_memory(command: Sequence[str | Path]) -> int | None:
    """Bytes that a program has held at most; None where nobody tells, or the program fails."""
    if find_spec("resource") is None:  # Windows
        return None
    line = [sys.executable, "-c", _STARTER, *map(str, command)]
    run = subprocess.run(line, capture_output=True, encoding="utf-8", check=False)  # noqa: S603
    if run.returncode:
        return None
    return int(run.stdout) * (1 if sys.platform == "darwin" else 1024)
