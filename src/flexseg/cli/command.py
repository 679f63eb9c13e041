"""How a command joins the command line: its group in `flexseg --help`, and `--json`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from flexseg.cli.app import app

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
        return into.command(name, rich_help_panel=panel)(function)

    return register


def long_command(
    task: Task, name: str | None = None, *, into: typer.Typer = app
) -> Callable[[Function], Function]:
    """Make a function that takes long a command, with `--json`, see `json_lines`."""

    def register(function: Function) -> Function:
        called = name or function.__name__
        title = called if into is app else f"{into.info.name} {called}"
        command(task, name, into=into)(_with_json(function, title))
        return function

    return register


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
