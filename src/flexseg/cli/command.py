"""How a command joins the command line: its group in `flexseg --help`, URLs, and `--json`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from flexseg.cli.app import app
from flexseg.cli.switches import Command

# Parameters that take no URL, and their options.
_LOCAL = {"data": "data", "certificate": "tls-cert", "key": "tls-key"}
# Parameters that name results.
_RESULTS = ("output", "copy")
Function = TypeVar("Function", bound=Callable[..., None])


class Task(StrEnum):
    """What a user wants to do; the headings of `flexseg --help`, in its order."""

    LOOK = "Look at and prepare data"
    TRAIN = "Train"
    PREDICT = "Predict"
    JUDGE = "Judge"
    SHARE = "Share"
    HELP = "Help"


JsonLinesOption = Annotated[
    bool,
    typer.Option("--json", help="Write one line of JSON per event, for programs."),
]


def command(
    task: Task, name: str | None = None, *, into: typer.Typer = app
) -> Callable[[Function], Function]:
    """Make a function a command, named after itself unless `name` is given."""
    panel = task if into is app else None

    def register(function: Function) -> Function:
        into.command(name, cls=Command, rich_help_panel=panel)(_with_copies(function))
        return function

    return register


def long_command(
    task: Task, name: str | None = None, *, into: typer.Typer = app
) -> Callable[[Function], Function]:
    """Make a function that takes long a command, with `--json`, see `json_lines`."""

    panel = task if into is app else None

    def register(function: Function) -> Function:
        called = name or function.__name__
        title = called if into is app else f"{into.info.name} {called}"
        run = _with_json(_with_copies(function), title)
        into.command(name, cls=Command, rich_help_panel=panel)(run)
        return function

    return register


def _with_copies(function: Callable[..., None]) -> Callable[..., None]:
    """The function, which is given paths of copies for URLs; its results are sent to theirs."""

    @functools.wraps(function)
    def run(**options: Any) -> None:
        from flexseg.storage.sending import sending

        with sending():
            function(**{name: _copies(name, value) for name, value in options.items()})

    return run


def _copies(name: str, value: Any) -> Any:
    """The value of a parameter with paths for URLs, whose files are fetched."""
    if isinstance(value, list):
        return [_copies(name, one) for one in value]
    if not isinstance(value, Path):
        return value
    from flexseg.errors import ConfigError
    from flexseg.storage.mirror import named, present
    from flexseg.storage.sending import prepare

    path = named(value)
    if path is None:
        return value
    if name in _LOCAL:
        raise ConfigError("A URL cannot be given here.", "Give a local path.", f"--{_LOCAL[name]}")
    if name in _RESULTS:
        prepare(path)
        return path
    return present(path)


def _with_json(function: Callable[..., None], title: str) -> Callable[..., None]:
    """The function with a further option."""

    @functools.wraps(function)
    def run(*, as_json: bool = False, **options: Any) -> None:
        if not as_json:
            function(**options)
            return
        from flexseg.cli.json_lines import json_lines

        with json_lines(title):
            function(**options)

    signature = inspect.signature(function, eval_str=True)
    option = inspect.Parameter(
        "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonLinesOption
    )
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), option]
    )
    run.__annotations__ = {**function.__annotations__, "as_json": JsonLinesOption}
    return run
