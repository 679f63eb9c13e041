"""`flexseg infer`: masks of images, or of volumes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    pass
logger = logging.getLogger(__name__)


@app.command()
def infer(
    config: ConfigArgument,
    overrides: SetOption = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="Folder or file (default: \\[infer] images_dir)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the masks.")
    ] = None,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Predict masks and overlays for a folder of images or one file; label volumes for volumes."""
    select_backend(backend)
    from flexseg.inference.infer3d import holds_volumes
    from flexseg.inference.loading import infer as infer_trained

    loaded = load_config(config, overrides, strict, repair)
    place = source or loaded.experiment.infer.images_dir
    if place is not None and holds_volumes(place):
        from flexseg.cli.infer3d import predict_volumes

        predict_volumes(loaded, place, output)
        return
    with progress("Predicting") as on_image:
        result = infer_trained(loaded, source, output, on_image)
    say(f"{len(result.areas)} image(s) predicted.")
    for folder in result.targets.folders():
        say(f"  {folder}")
    if result.failed:
        for reason in result.failed.values():
            errors.print(f"[red]not predicted:[/] {escape(reason)}")
        raise typer.Exit(3)
