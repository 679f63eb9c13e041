"""What is kept of an error that should not happen, for those who can repair it."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from pathlib import Path

from flexseg.environment import environment_facts


def write_bug_report(error: BaseException) -> Path | None:
    """Write command, traceback and environment to a file of the system's folder for such files.

    None where that cannot be written to.
    """
    stamp = time.strftime("%Y%m%d_%H%M%S")
    path = Path(tempfile.gettempdir()) / f"flexseg_error_{stamp}.txt"
    try:
        path.write_text(bug_report(error), encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    return path


def bug_report(error: BaseException) -> str:
    """Command, environment and traceback as text."""
    command = " ".join(["flexseg", *sys.argv[1:]])
    facts = "\n".join(f"{name}: {text}" for name, text in environment_facts().items())
    return f"{command}\n\n{facts}\n\n{''.join(traceback.format_exception(error))}"
