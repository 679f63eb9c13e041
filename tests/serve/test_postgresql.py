"""The server keeps its tables in PostgreSQL as well, here in one of Debian's of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pg8000")

from flexseg.errors import ConfigError
from flexseg.serve.app import create_app
from flexseg.serve.settings import ServeSettings
from serve.conftest import Serve
from served import ended, picture, uploaded

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
# It refuses to run as root.
USER = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture
def url() -> Iterator[str]:
    """A database that nobody else uses."""
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp())
    if USER:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    data = folder / "data"

    def run(program: str, *options: str) -> None:
        command = [str(PROGRAMS[-1] / program), "-D", str(data), *options]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **USER)

    run("initdb", "-A", "trust", "-U", "flexseg")
    run("pg_ctl", "-w", "-o", f"-p {port} -k {folder}", "-l", str(folder / "log"), "start")
    try:
        yield f"postgresql+pg8000://flexseg@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)


def test_cases_are_kept_predicted_and_deleted(url: str, serve: Serve, tmp_path: Path) -> None:
    client = serve(database=url)
    cases = [uploaded(client, picture(seed)) for seed in range(3)]
    assert [ended(client, case)["state"] for case in cases] == ["done"] * 3
    answer = client.post(f"/api/cases/{cases[0]}/review", json={"verdict": "accepted"}).json()
    assert answer["review"] == "accepted" and answer["classes"][0]["pixels"] > 0
    assert client.get("/api/next").json()["id"] == cases[1]
    client.post(f"/api/cases/{cases[1]}/predict", json={"priority": 3})
    assert ended(client, cases[1])["state"] == "done"
    assert client.delete(f"/api/cases/{cases[0]}").status_code == 204
    listed = client.get("/api/cases").json()["cases"]
    assert [case["id"] for case in listed] == cases[:0:-1]
    assert not (tmp_path / "data" / "serve.sqlite").exists()


@pytest.mark.parametrize(
    "url", ["no url", "nothing://host/name", "postgresql+pg8000://me@127.0.0.1:1/name"]
)
def test_databases_that_cannot_be_used_are_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        create_app(ServeSettings(tmp_path / "data", database=url))
