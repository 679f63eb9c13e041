"""The command that predicts images larger than the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    SetOption,
    StrictOption,
    TrainedArgument,
    TrainedRepairOption,
    open_predicting,
    progress,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.infer import OutputOption, RecursiveOption, report
from flexseg.cli.sharing import RayOption, WorkersOption, open_workers


@long_command(Task.PREDICT, "tiled-infer")
def tiled_infer(
    trained: TrainedArgument,
    overrides: SetOption = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="Folder or file (default: that of the config)."),
    ] = None,
    output: OutputOption = None,
    recursive: RecursiveOption = False,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
    workers: WorkersOption = None,
    ray: RayOption = None,
) -> None:
    """Predict images larger than the network's input by overlapping windows, at full resolution."""
    sharing = open_workers(workers, ray)
    loaded = open_predicting(trained, overrides, strict, backend, repaired=repair, source=source)
    from flexseg.inference import configured

    with progress("Predicting") as on_image:
        outcome = configured.tiled_infer(
            loaded, source, output, on_image, recursive=recursive, workers=sharing
        )
    report(outcome, "image")
