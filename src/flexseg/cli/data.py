"""Commands on configs and datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    ConfigArgument,
    JsonOption,
    SetOption,
    StrictOption,
    app,
    console,
    progress,
    say,
    select_backend,
)
from flexseg.errors import ConfigError

if TYPE_CHECKING:
    from flexseg.config import LoadedConfig


@app.command()
def init(
    dataset: Annotated[
        Path, typer.Argument(help="Folder with images/ and masks/, or train/, valid/, test/.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the new config and scripts.")
    ] = Path(),
    size: Annotated[int | None, typer.Option(help="Size of the network's input in pixels.")] = None,
    neighbours: Annotated[
        int,
        typer.Option(
            min=0,
            max=8,
            help="For slices of volumes: so many on each side as further channels (2.5-D).",
        ),
    ] = 0,
) -> None:
    """Write a commented config for a folder of images and masks, and start scripts."""
    from flexseg.data.initialize import initialize

    for path in initialize(dataset, output, size, neighbours):
        say(f"written: {path}")


@app.command()
def check(
    config: ConfigArgument,
    overrides: SetOption = None,
    no_data: Annotated[bool, typer.Option("--no-data", help="Check the config alone.")] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Show what `train --repair` would change, and check it."),
    ] = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a config and the data it points to, before any training.

    Exit code 0: it can run. 2: the config is wrong. 3: the data is wrong.
    """
    select_backend(None)
    from flexseg.checking.audit import audit
    from flexseg.config import load
    from flexseg.reporting import print_check

    try:
        loaded = load(config, overrides or (), strict=strict)
    except ConfigError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, **error.as_dict()}, indent=2))
            raise typer.Exit(error.exit_code) from None
        raise
    if repair:
        loaded = _repaired(loaded, look=not no_data, quiet=as_json)
    with progress("Checking the data") as on_case:
        report = audit(loaded, with_data=not no_data, on_case=on_case)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2, default=str))
    else:
        print_check(console, report)
    raise typer.Exit(report.exit_code)


def _repaired(loaded: LoadedConfig, *, look: bool, quiet: bool) -> LoadedConfig:
    """The config as `train --repair` would train it; prints what changes."""
    from flexseg.cli.repairs import print_repair
    from flexseg.planning.repair import repair

    repaired = repair(loaded, look=look)
    if not quiet:
        print_repair(repaired)
    return repaired.loaded


@app.command()
def stats(
    dataset: Annotated[Path, typer.Argument(help="Folder with train/, valid/, test/ or images/.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the pictures.")
    ] = None,
) -> None:
    """Draw how many images a dataset has, and contact sheets of images and masks."""
    from flexseg.data.statistics import draw_statistics

    for path in draw_statistics(dataset, output or Path()):
        say(f"written: {path}")


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
) -> None:
    """Write the JSON Schema of the config."""
    from flexseg.config import Experiment
    from flexseg.outputs import set_aside, write_text

    text = json.dumps(Experiment.model_json_schema(), indent=2)
    if output is None:
        typer.echo(text)
    else:
        set_aside(output)
        write_text(output, text + "\n")
        say(f"written: {output}")
