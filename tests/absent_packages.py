"""The command line, or a script, in a process in which some packages seem not to be installed.

As a script: absent_packages.py NAMES COMMAND..., with names separated by commas. A command that is
the path of a Python file is run instead of `flexseg`.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

ENGINES = ("keras", "tensorflow", "jax", "torch", "tf2onnx", "onnx")


def run_without(
    absent: Sequence[str], *command: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command, or a script and its arguments, where packages seem to be absent."""
    line = [sys.executable, __file__, ",".join(absent), *map(str, command)]
    return subprocess.run(
        line,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def hide(absent: Sequence[str]) -> None:
    """Make imports of packages fail as if they were not installed."""

    class Without(PathFinder):
        @classmethod
        def find_spec(
            cls,
            fullname: str,
            path: Sequence[str] | None = None,
            target: ModuleType | None = None,
        ) -> ModuleSpec | None:
            if fullname.partition(".")[0] in absent:
                return None
            return PathFinder.find_spec(fullname, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Without


def _main() -> None:
    _, names, *command = sys.argv
    hide(names.split(","))
    if command[0].endswith(".py"):
        sys.argv = command
        sys.path.insert(0, str(Path(command[0]).parent))
        runpy.run_path(command[0], run_name="__main__")
    else:
        from flexseg.cli import main

        main(command)


if __name__ == "__main__":
    _main()
