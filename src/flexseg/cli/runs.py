"""`flexseg runs`: the trainings below a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import JsonOption, app, console, say

if TYPE_CHECKING:
    from flexseg.runs.listing import RunInfo

_STYLES = {"finished": "green", "running": "cyan", "interrupted": "yellow"}


@app.command("runs")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Folder to search, with all below it.")] = Path(),
    sort: Annotated[
        str,
        typer.Option(
            help="started, dice, val_loss, name, model, data, status, epochs or seconds: newest or "
            "best first."
        ),
    ] = "started",
    as_json: JsonOption = False,
) -> None:
    """List the runs of a folder with their scores."""
    from flexseg.runs.listing import find_runs, sort_runs

    runs = sort_runs(find_runs(folder), sort)
    if as_json:
        typer.echo(json.dumps([run.as_dict() for run in runs], indent=2))
    elif runs:
        _print(runs)
    else:
        say(f"No run (folder with a run.json) in {folder.resolve()} or below.")


def _print(runs: list[RunInfo]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column("run", overflow="fold")
    table.add_column("started", no_wrap=True)
    table.add_column("network, data", overflow="fold")
    for name in ("epochs", "best loss", "Dice"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        style = _STYLES.get(run.status, "red")
        started = (run.started or "-")[:16].replace("T", " ")
        table.add_row(
            f"{escape(run.name)}\n[{style}]{escape(run.status)}[/]",
            f"{started}\n[dim]{_duration(run.seconds)}[/]",
            f"{escape(run.model or '-')}\n[dim]{escape(run.data or '')}[/]",
            "-" if run.epochs is None else str(run.epochs),
            "-" if run.val_loss is None else f"{run.val_loss:.4f}",
            _dice(run),
        )
    console.print(table)
    for run in runs:
        if run.problem:
            console.print(f"{run.name}: {run.problem}", markup=False, soft_wrap=True)


def _dice(run: RunInfo) -> str:
    if run.dice is None:
        return "-"
    ends = f"\n[dim]{run.ci95[0]:.3f}-{run.ci95[1]:.3f}[/]" if run.ci95 else ""
    return f"{run.dice:.3f}{ends}"


def _duration(seconds: float | None) -> str:
    """Hours, minutes and seconds; empty where they are not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
