"""`flexseg serve-admin`: tokens, deletion and the audit log on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("sqlalchemy")
pytest.importorskip("prometheus_client")

from flexseg.cli import main
from flexseg.cli.serve_admin import RoleName
from flexseg.serve.access.access_tokens import AccessTokens
from flexseg.serve.current_user import Role
from flexseg.serve.database import CaseRow, Database
from flexseg.serve.oversight.audit_log import AuditLog
from flexseg.serve.settings import ServeSettings


def run(*arguments: str) -> int:
    try:
        main(["serve-admin", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_roles_of_the_command_are_those_of_the_server() -> None:
    assert [role.upper() for role in RoleName] == [role.name for role in Role]


def test_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path)]
    assert run("add", "Ada", "--role", "correct", *data) == 0
    token = capsys.readouterr().out.splitlines()[0]
    access = AccessTokens(tmp_path).find(token)
    assert access is not None
    assert (access.name, access.role) == ("Ada", Role.CORRECT)
    assert run("add", "Ada", *data) == 2
    capsys.readouterr()
    assert run("tokens", "--json", *data) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["role"]) == ("Ada", "correct")
    assert run("revoke", "Ada", *data) == 0
    assert AccessTokens(tmp_path).find(token) is None
    assert [entry["what"] for entry in AuditLog(tmp_path).lines()] == ["add token", "revoke token"]


def case(data: Path, case_id: str, user: str, created: float) -> None:
    database = Database(ServeSettings(data).database_url)
    with database.writing() as session:
        session.add(
            CaseRow(
                id=case_id, name="a.png", kind="image", facts={}, digest="", state="done",
                user=user, created=created,
            )
        )  # fmt: skip
    database.close()
    folder = data / "cases" / case_id
    folder.mkdir(parents=True)
    (folder / "image.npy").write_bytes(b"x")


def test_cases_are_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import time

    old, new, other = (letter * 32 for letter in "abc")
    case(tmp_path, old, "Ada", time.time() - 40 * 86400)
    case(tmp_path, new, "Ada", time.time())
    case(tmp_path, other, "Bob", time.time())
    data = ["--data", str(tmp_path)]
    assert run("forget", *data) == 2
    assert run("forget", "--older-than", "30", *data) == 0
    assert capsys.readouterr().out.splitlines() == [old, "1 case deleted."]
    assert run("forget", "--user", "Bob", *data) == 0
    assert run("forget", old, *data) == 0
    assert [p.name for p in (tmp_path / "cases").iterdir()] == [new]
    assert run("forget", "--all", *data) == 0
    assert not [*(tmp_path / "cases").iterdir()]
    log = [(e["who"], e["what"], e["case"]) for e in AuditLog(tmp_path).lines()]
    assert log == [("operator", "delete", one) for one in (old, other, new)]


def test_a_forged_log_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = AuditLog(tmp_path)
    for n in range(3):
        log.add("look", "Ada", case=f"{n:032x}")
    assert run("log", "--data", str(tmp_path), "--case", f"{1:032x}") == 0
    assert capsys.readouterr().out.split()[1:] == ["Ada", "look", f"{1:032x}"]
    lines = log.path.read_text().splitlines(keepends=True)
    log.path.write_text(lines[0] + lines[2])
    assert run("log", "--data", str(tmp_path)) == 3
