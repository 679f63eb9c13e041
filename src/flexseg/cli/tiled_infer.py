"""The command that predicts images larger than the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    SetOption,
    StrictOption,
    TrainedRepairOption,
    app,
    load_config,
    progress,
    select_backend,
)
from flexseg.cli.infer import OutputOption, RecursiveOption, report


@app.command("tiled-infer")
def tiled_infer(
    config: ConfigArgument,
    overrides: SetOption = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="Folder or file; without it that of the config."),
    ] = None,
    output: OutputOption = None,
    recursive: RecursiveOption = False,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Predict images larger than the network by overlapping windows, at full resolution."""
    select_backend(backend)
    from flexseg.inference import configured

    loaded = load_config(config, overrides, strict, repair)
    with progress("Predicting") as on_image:
        outcome = configured.tiled_infer(loaded, source, output, on_image, recursive=recursive)
    report(outcome, "image")
