"""The server keeps its tables in PostgreSQL as well, here in one of Debian's of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pg8000")

from flexseg.errors import ConfigError
from flexseg.serve.app import create_app
from flexseg.serve.settings import ServeSettings
from own_postgresql import own_postgresql
from serve.conftest import Serve
from served import ended, picture, uploaded


@pytest.fixture
def url() -> Iterator[str]:
    """A database that nobody else uses."""
    with own_postgresql() as address:
        yield address


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
