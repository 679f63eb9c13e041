"""Whether every extra can be installed elsewhere: `python tools/check_resolution.py`.

For each version of Python and each system, uv finds versions of all packages that fit together and
have wheels; nothing is installed. Extras that can be installed together can be installed alone, so
each is tried by itself only where they cannot. Exit code 1 if one cannot be installed even then.
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


def problem(extras: list[str], python: str, platform: str) -> str | None:
    """Why flexseg cannot be installed with some extras; None if it can."""
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet",
        "--python-version", python, "--python-platform", platform, "--only-binary", ":all:",
        *(part for extra in extras for part in ("--extra", extra)),
    ]  # fmt: skip
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return result.stderr.strip() if result.returncode else None


def problems(extras: list[str], python: str, platform: str) -> list[str]:
    """What cannot be installed for a Python and a system, and why."""
    together = problem(extras, python, platform)
    if together is None:
        return []
    alone = {extra: problem([extra], python, platform) for extra in extras}
    failed = [f"{extra} cannot be installed: {why}" for extra, why in alone.items() if why]
    return failed or [f"each extra can be installed, but not all of them together: {together}"]


def main() -> int:
    """Try all combinations. Returns the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [e for e in project["optional-dependencies"] if e not in LEFT_OUT]
    systems = list(product(PYTHONS, PLATFORMS))
    failed = False
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda system: problems(extras, *system), systems)
        for (python, platform), texts in zip(systems, found, strict=True):
            failed |= any("cannot be installed:" in text for text in texts)
            what = "; ".join(texts) or f"all {len(extras)} extras can be installed"
            print(f"Python {python}, {platform}: {what}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
