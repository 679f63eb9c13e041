"""`flexseg serve-admin`: who may use a server, what they did, and what it forgets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import JsonOption, app, say
from flexseg.cli.command import Task, command
from flexseg.cli.serve import DatabaseOption, DataOption, require_packages
from flexseg.cli.switches import Group

if TYPE_CHECKING:
    from flexseg.serve.access.access_tokens import AccessTokens

admin_app = typer.Typer(
    cls=Group,
    help="Who may use a server of `serve`, what they did, and what it forgets.",
    no_args_is_help=True,
)
app.add_typer(admin_app, name="serve-admin", rich_help_panel=Task.SHARE)

# Of those who delete from the command line, in the audit log.
_OPERATOR = "operator"
# Of a line of the log, in this order.
_FACTS = ("at", "who", "what", "case", "token", "model", "versions", "address")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of a person or a program.")]


class RoleName(StrEnum):
    """What somebody may do; each includes those before."""

    look = "look"
    correct = "correct"
    train = "train"


@command(Task.SHARE, into=admin_app)
def add(
    name: NameArgument,
    role: Annotated[
        RoleName,
        typer.Option(
            help="look: see cases. correct: also upload, correct, judge and delete them. train: "
            "also train and choose models."
        ),
    ] = RoleName.look,
    data: DataOption = Path("serve"),
) -> None:
    """Make a token for somebody, and show it this once.

    From the first token on, everybody needs one; a server that runs sees it at once.
    """
    tokens = _tokens(data)
    from flexseg.serve.current_user import Role

    token = tokens.add(name, Role[role.upper()])
    _write_down(data, "add token", name, role)
    typer.echo(token)
    say("This is shown only once. It is typed into the page, or sent by programs as")
    say("`Authorization: Bearer TOKEN`.")


@command(Task.SHARE, into=admin_app)
def tokens(data: DataOption = Path("serve"), *, as_json: JsonOption = False) -> None:
    """List who has a token."""
    from datetime import datetime

    found = _tokens(data).listed()
    listed = [
        {
            "name": access.name,
            "role": access.role.name.lower(),
            "created": datetime.fromtimestamp(access.created).isoformat(timespec="seconds"),
        }
        for access in found
    ]
    if as_json:
        import json

        typer.echo(json.dumps(listed))
        return
    for entry in listed:
        say(f"{entry['role']:8} {entry['created']}  {entry['name']}")
    if not listed:
        say("Nobody has a token: a server on this machine needs none, and listens to no other.")


@command(Task.SHARE, into=admin_app)
def revoke(name: NameArgument, data: DataOption = Path("serve")) -> None:
    """Let the token of somebody count no more, also where it has signed in."""
    _tokens(data).revoke(name)
    _write_down(data, "revoke token", name)
    say(f"{name} has no token any more.")


@command(Task.SHARE, into=admin_app)
def forget(
    cases: Annotated[
        list[str] | None, typer.Argument(metavar="[CASE]...", help="Ids of cases.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Cases that NAME has uploaded.")
    ] = None,
    days: Annotated[
        float | None,
        typer.Option("--older-than", metavar="DAYS", min=0, help="Cases uploaded before that."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All cases.")] = False,
    data: DataOption = Path("serve"),
    database: DatabaseOption = None,
) -> None:
    """Delete cases with all their files; those that meet everything that is given.

    A server that runs goes on. Models that were trained on a case keep what they have learned;
    `log` says which versions these are.
    """
    from flexseg.config.findings import amount
    from flexseg.errors import ConfigError

    require_packages()
    if not (cases or user is not None or days is not None or everything):
        raise ConfigError(
            "No cases are named.", "Give ids, --user, --older-than, or --all.", "CASE"
        )
    if not data.is_dir():
        raise ConfigError("There is no such folder.", "Check --data.", str(data))
    from flexseg.serve.oversight.retention import Forgotten
    from flexseg.serve.oversight.retention import forget as delete
    from flexseg.serve.server import Server
    from flexseg.serve.settings import ServeSettings

    server = Server(ServeSettings(data.absolute(), database=database))
    try:
        deleted = delete(server, Forgotten(tuple(cases or ()), user, days), _OPERATOR)
    finally:
        server.database.close()
    for case in deleted:
        say(case)
    say(f"{amount(len(deleted), 'case')} deleted.")


@command(Task.SHARE, into=admin_app)
def log(
    case: Annotated[str | None, typer.Option(metavar="CASE", help="Of one case only.")] = None,
    data: DataOption = Path("serve"),
    *,
    as_json: JsonOption = False,
) -> None:
    """Show who did what and when, and whether a line was changed or removed (exit code 3)."""
    import json

    from flexseg.errors import DataError
    from flexseg.serve.oversight.audit_log import AuditLog

    audit = AuditLog(data)
    for entry in audit.lines():
        if case is not None and entry.get("case") != case:
            continue
        if as_json:
            typer.echo(json.dumps(entry))
        else:
            facts = (entry.get(key) for key in _FACTS)
            say("  ".join(str(fact) for fact in facts if fact is not None))
    if faults := audit.faults():
        raise DataError(
            " ".join(faults[:3]), "Compare it with a copy from elsewhere.", str(audit.path)
        )


def _write_down(data: Path, what: str, token: str, role: str | None = None) -> None:
    from flexseg.serve.oversight.audit_log import AuditLog

    AuditLog(data).add(what, _OPERATOR, token=token, role=role)


def _tokens(data: Path) -> AccessTokens:
    require_packages()
    from flexseg.serve.access.access_tokens import AccessTokens

    return AccessTokens(data)
