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
    if table.fits(console):
        table.print(console)
    else:  # paths that are broken cannot be copied
        for run in runs:
            console.print(_paragraph(run), soft_wrap=True)
    for run in runs:
        if run.problem:
            console.print(one_line(f"{run.name}: {run.problem}"), markup=False, soft_wrap=True)


def _paragraph(run: RunInfo) -> Text:
    """What the table says of a run, with its path on a line of its own."""
    from flexseg.config.findings import amount

    dice = None if run.dice is None else f"Dice {run.dice:.3f}"
    if dice is not None and run.ci95 is not None:
        dice += " ({:.3f}-{:.3f})".format(*run.ci95)
    lines = (
        (run.started and run.started[:16].replace("T", " "), _duration(run.seconds)),
        (run.model, run.data),
        (
            None if run.epochs is None else amount(run.epochs, "epoch"),
            None if run.val_loss is None else f"best loss {run.val_loss:.4f}",
            dice,
        ),
    )
    said = ["  ".join(part for part in line if part) for line in lines]
    status = (run.status, _STYLES.get(run.status, "red"))
    details = "".join(f"\n    {one_line(line)}" for line in said if line)
    return Text.assemble((one_line(run.name), "bold"), "  ", status, details)


def _duration(seconds: float | None) -> str:
    """Hours, minutes and seconds; empty where they are not known."""
    if seconds is None:
        return ""
    from flexseg.config.durations import clock_text

    return clock_text(seconds)
