"""The URL of a database that searches share, and its password."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="the extra tune is not installed")
pytest.importorskip("pg8000", reason="the extra postgresql is not installed")
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from flexseg.cli import main
from flexseg.errors import ConfigError, ResourceError
from flexseg.search.shared_study import password_of, shared_study

URL = "postgresql+pg8000://me@host/base"


@pytest.mark.parametrize(
    ("url", "name", "what"),
    [
        ("no url", "a", "no URL of a database"),
        ("mysql://me@host/base", "a", "of mysql; hosts share a search by postgresql"),
        ("postgresql://me:secret@host/base", "a", "holds a password"),
        ("postgresql+psycopg2://me@host/base?password=secret", "a", "holds a password"),
        ("postgresql://me@/base", "a", "names no host"),
        ("postgresql://me@host", "a", "names no database"),
        ("postgresql+nothing://me@host/base", "a", r"nothing is not installed.*\[postgresql\]"),
        (URL, "../a", "cannot be the name"),
        (URL, "..", "cannot be the name"),
    ],
)
def test_what_is_no_place_of_a_search_is_refused(url: str, name: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        shared_study(url, name)
    assert "secret" not in str(caught.value)


def test_driver_and_user_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "somebody")
    place = shared_study("postgresql://host/base", "a-1.b_c")
    assert place.url == "postgresql+pg8000://somebody@host/base"


def test_an_account_without_name_and_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a mere number."""

    def nobody(*_: object) -> str:
        raise KeyError("getpwuid(): uid not found: 1000720000")

    for name in ("PGUSER", "PGPASSWORD", "PGPASSFILE", "HOME", "USERPROFILE", "HOMEPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("getpass.getuser", nobody)
    if os.name != "nt":
        monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(ConfigError, match=r"names no user.* PGUSER"):
        shared_study("postgresql://host/base", "a")
    assert password_of(make_url(URL)) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"M": "no such table.\nMore."}, r"\(no such table\)"),
        ("", r"\(OSError\)"),
        ("refused.", r"\(refused\)"),
    ],
)
def test_what_a_driver_says_is_told_in_a_line(said: object, told: str) -> None:
    error = shared_study(URL, "a").explained(DBAPIError("SELECT 1", {}, OSError(said)))
    assert isinstance(error, ResourceError) and re.search(told, error.problem)


def test_the_password_is_found_as_by_postgresql_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "pgpass"
    file.write_text(
        "# host:port:database:user:password\n"
        "host:5433:base:me:other port\n"
        "host:*:base:you:other user\n"
        "host:5432:base:me:a\\:b\\\\c\n"
        "*:*:*:*:any\n"
    )
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    monkeypatch.delenv("PGPASSWORD", raising=False)
    assert password_of(make_url(URL)) == "a:b\\c"
    assert password_of(make_url("postgresql://me@host:5433/base")) == "other port"
    assert password_of(make_url("postgresql://me@far/base")) == "any"
    monkeypatch.setenv("PGPASSWORD", "given")
    assert password_of(make_url(URL)) == "given"
    monkeypatch.delenv("PGPASSWORD")
    if os.name != "nt":
        file.chmod(0o644)
        with caplog.at_level(logging.WARNING):
            assert password_of(make_url(URL)) is None
        assert "chmod 600" in caplog.text and "any" not in caplog.text


@pytest.mark.parametrize(
    ("options", "what"),
    [(["--storage", URL, "--fresh"], "--study"), (["--study", "a"], "Give --storage")],
)
def test_options_that_do_not_go_together_are_refused(
    options: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["tune", str(tmp_path / "a.toml"), "--time", "1m", *options])
    assert caught.value.code == 2 and what in capsys.readouterr().err
