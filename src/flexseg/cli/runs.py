"""`flexseg runs`: the trainings below a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flexseg.cli.app import JsonOption, console, say
from flexseg.cli.command import Task, command
from flexseg.cli.tables import NOTHING, Table, below, fixed, number, numbers, texts, with_interval
from flexseg.errors import one_line
from flexseg.machine import real_path

if TYPE_CHECKING:
    from flexseg.runs.listing import RunInfo

_STYLES = {"finished": "green", "running": "cyan", "interrupted": "yellow"}


@command(Task.JUDGE, "runs")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Folder to search, with its subfolders.")] = Path(),
    sort: Annotated[
        str,
        typer.Option(
            help="Order: started, dice, val_loss, name, model, data, status, epochs or seconds; "
            "newest or best first."
        ),
    ] = "started",
    as_json: JsonOption = False,
) -> None:
    """List the runs in a folder with their scores."""
    from flexseg.runs.listing import find_runs, sort_runs

    runs = sort_runs(find_runs(folder), sort)
    if as_json:
        typer.echo(json.dumps([run.as_dict() for run in runs], indent=2))
    elif runs:
        _print(runs)
    else:
        say(f"No run (folder with a run.json) in {real_path(folder)} or below.")


def _print(runs: list[RunInfo]) -> None:
    columns = [*texts("run"), *fixed("started"), *texts("network, data")]
    table = Table([*columns, *numbers("epochs", "best loss", "Dice")])
    for run in runs:
        started = (run.started or NOTHING)[:16].replace("T", " ")
        table.add(
            Text.assemble(one_line(run.name), "\n", (run.status, _STYLES.get(run.status, "red"))),
            below(started, _duration(run.seconds)),
            below(run.model or NOTHING, run.data or ""),
            run.epochs,
            number(run.val_loss),
            with_interval(run.dice, run.ci95, 3),
        )
    table.print(console)
    for run in runs:
        if run.problem:
            console.print(one_line(f"{run.name}: {run.problem}"), markup=False, soft_wrap=True)


def _duration(seconds: float | None) -> str:
    """Hours, minutes and seconds; empty where they are not known."""
    if seconds is None:
        return ""
    from flexseg.config.durations import clock_text

    return clock_text(seconds)
