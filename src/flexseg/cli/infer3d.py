"""The command that predicts volumes."""

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
from flexseg.cli.infer import RecursiveOption, report
from flexseg.cli.sharing import RayOption, WorkersOption, open_workers


@long_command(Task.PREDICT)
def infer3d(
    trained: TrainedArgument,
    overrides: SetOption = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            help="Volume, folder of a DICOM series, or folder of volumes "
            "(default: \\[infer3d] images_dir).",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the results.")
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(help="DICOM series to take: part of its description or UID."),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(
            min=0, help="Volume of 4-D files, or channel of multi-channel ones, counted from 0."
        ),
    ] = None,
    recursive: RecursiveOption = False,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
    workers: WorkersOption = None,
    ray: RayOption = None,
) -> None:
    """Predict a label volume for each volume, in its format and geometry."""
    sharing = open_workers(workers, ray)
    loaded = open_predicting(trained, overrides, strict, backend, repaired=repair, source=source)
    from flexseg.inference import configured

    with progress("Predicting") as on_volume:
        outcome = configured.infer3d(
            loaded,
            source,
            output,
            series=series,
            channel=channel,
            on_volume=on_volume,
            recursive=recursive,
            workers=sharing,
        )
    report(outcome, "volume")
