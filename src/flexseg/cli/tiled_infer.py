"""The command that predicts images larger than the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    SetOption,
    StrictOption,
    TrainedRepairOption,
    app,
    errors,
    load_config,
    progress,
    say,
    select_backend,
)


@app.command("tiled-infer")
def tiled_infer(
    config: ConfigArgument,
    overrides: SetOption = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="Folder or file; without it that of the config."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the masks.")
    ] = None,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Predict images larger than the network by overlapping windows, at full resolution."""
    select_backend(backend)
    from flexseg.inference.tiled import tiled_infer as infer_trained

    loaded = load_config(config, overrides, strict, repair)
    with progress("Predicting") as on_image:
        result = infer_trained(loaded, source, output, on_image)
    say(f"{len(result.areas)} image(s) predicted.")
    for folder in result.targets.folders():
        say(f"  {folder}")
    if result.failed:
        for reason in result.failed.values():
            errors.print(f"[red]not predicted:[/] {escape(reason)}")
        raise typer.Exit(3)
