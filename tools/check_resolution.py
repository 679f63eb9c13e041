"""Whether every extra can be installed elsewhere: `python tools/check_resolution.py`.

uv finds versions of all packages that fit together and have wheels for a version of Python and a
system; nothing is installed. Exit code 1 if there are none.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("linux", "windows", "macos")
# Nobody runs the tests elsewhere.
LEFT_OUT = ("dev",)


def problem(extra: str | None, python: str, platform: str) -> str | None:
    """Why an extra, or flexseg alone, cannot be installed; None if it can."""
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet",
        "--python-version", python, "--python-platform", platform, "--only-binary", ":all:",
        *(["--extra", extra] if extra else []),
    ]  # fmt: skip
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return result.stderr.strip() if result.returncode else None


def main() -> int:
    """Try all combinations. Returns the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [None, *(e for e in project["optional-dependencies"] if e not in LEFT_OUT)]
    combinations = list(product(extras, PYTHONS, PLATFORMS))
    failed = 0
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda combination: problem(*combination), combinations)
        for (extra, python, platform), text in zip(combinations, found, strict=True):
            what = f"{extra or 'flexseg alone'}, Python {python}, {platform}"
            print(f"{what}: {'can be installed' if text is None else text}", flush=True)
            failed += text is not None
    print(f"{len(combinations) - failed} of {len(combinations)} combinations can be installed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
