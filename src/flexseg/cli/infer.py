"""The command that predicts images, and what all commands of prediction share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from flexseg.inference.program import Outcome

RecursiveOption = Annotated[
    bool,
    typer.Option(
        "--recursive", "-r", help="Also what is in folders of the input, into equal folders."
    ),
]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the masks.")]


@app.command()
def infer(
    config: ConfigArgument,
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
) -> None:
    """Predict masks and overlays for a folder of images or one file; label volumes for volumes."""
    select_backend(backend)
    from flexseg.inference import configured
    from flexseg.inference.volumes.volume_sources import holds_volumes

    loaded = load_config(config, overrides, strict, repair)
    place = source or loaded.experiment.infer.images_dir
    volumes = place is not None and holds_volumes(place, recursive=recursive)
    with progress("Predicting") as on_file:
        outcome = (
            configured.infer3d(loaded, place, output, on_volume=on_file, recursive=recursive)
            if volumes
            else configured.infer(loaded, source, output, on_file, recursive=recursive)
        )
    report(outcome, "volume" if volumes else "image")


def report(outcome: Outcome[Any], what: str) -> None:
    """Say what became of the files; exit 3 if one could not be predicted.

    Parameters
    ----------
    what : the files are.
    """
    say(f"{len(outcome.files)} {what}(s) predicted.")
    for folder in outcome.folders:
        say(f"  {folder}")
    for file, reason in outcome.failed.items():
        problem = "not complete" if file in outcome.files else "not predicted"
        errors.print(f"[red]{problem}:[/] {escape(reason)}", soft_wrap=True)
    if outcome.failed:
        raise typer.Exit(3)
