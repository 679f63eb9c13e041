"""A PostgreSQL of Debian's, which runs for a test under its own user, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ports import free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
# It refuses to run as root.
USER = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def own_postgresql(*rules: str) -> Iterator[str]:
    """The URL of a database that nobody else uses; skips where PostgreSQL is not installed.

    Parameters
    ----------
    rules : further lines of pg_hba.conf, which come first; without them everybody may enter.
    """
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp())
    if USER:
        shutil.chown(folder, "postgres", "postgres")
    port = free_port()
    data = folder / "data"

    def run(program: str, *options: str) -> None:
        command = [str(PROGRAMS[-1] / program), "-D", str(data), *options]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **USER)

    run("initdb", "-A", "trust", "-U", "flexseg")
    hba = data / "pg_hba.conf"
    hba.write_text("\n".join([*rules, hba.read_text()]))
    run("pg_ctl", "-w", "-o", f"-p {port} -k {folder}", "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+pg8000://flexseg@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)
