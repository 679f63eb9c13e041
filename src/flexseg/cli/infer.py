"""The command that predicts images, and what all commands of prediction share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from flexseg.cli.app import (
    BackendOption,
    SetOption,
    StrictOption,
    TrainedArgument,
    TrainedRepairOption,
    errors,
    open_predicting,
    progress,
    say,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.sharing import RayOption, WorkersOption, open_workers
from flexseg.events import emit
from flexseg.machine import near

if TYPE_CHECKING:
    from flexseg.inference.program import Outcome

RecursiveOption = Annotated[
    bool,
    typer.Option(
        "--recursive", "-r", help="Include the input's subfolders; the output gets the same ones."
    ),
]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the masks.")]


@long_command(Task.PREDICT)
def infer(
    trained: TrainedArgument,
    overrides: SetOption = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="Folder or file (default: \\[infer] images_dir)."),
    ] = None,
    output: OutputOption = None,
    recursive: RecursiveOption = False,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
    workers: WorkersOption = None,
    ray: RayOption = None,
) -> None:
    """Predict masks and overlays for a folder of images or one file; label volumes for volumes."""
    sharing = open_workers(workers, ray)
    loaded = open_predicting(trained, overrides, strict, backend, repaired=repair, source=source)
    from flexseg.inference import configured
    from flexseg.inference.volumes.volume_sources import holds_volumes

    place = source or loaded.experiment.infer.images_dir
    volumes = place is not None and holds_volumes(place, recursive=recursive)
    with progress("Predicting") as on_file:
        outcome = (
            configured.infer3d(
                loaded, place, output, on_volume=on_file, recursive=recursive, workers=sharing
            )
            if volumes
            else configured.infer(
                loaded, source, output, on_file, recursive=recursive, workers=sharing
            )
        )
    report(outcome, "volume" if volumes else "image")


def report(outcome: Outcome[Any, Any], what: str) -> None:
    """Say what became of the files; exit 3 if one could not be predicted.

    Parameters
    ----------
    what : the files are.
    """
    from flexseg.config.findings import amount

    emit("result", files=outcome.files, folders=outcome.folders, failed=outcome.failed)
    say(f"{amount(len(outcome.files), what)} predicted.")
    for folder in outcome.folders:
        say(f"  {near(folder)}")
    for file, reason in outcome.failed.items():
        problem = "not complete" if file in outcome.files else "not predicted"
        errors.print(f"[red]{problem}:[/] {escape(reason)}", soft_wrap=True)
    if outcome.failed:
        raise typer.Exit(3)
