"""The command that predicts volumes."""

from __future__ import annotations

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
    from flexseg.config.load import LoadedConfig


@app.command()
def infer3d(
    config: ConfigArgument,
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
        Path | None, typer.Option("--output", "-o", help="Folder of the results.")
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(help="DICOM series to take: a part of its description or UID."),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(min=0, help="Which volume of 4-D files, or channel of several, from 0."),
    ] = None,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Predict label volumes of volumes, in their format and geometry."""
    select_backend(backend)
    loaded = load_config(config, overrides, strict, repair)
    predict_volumes(loaded, source, output, series=series, channel=channel)


def predict_volumes(
    loaded: LoadedConfig,
    source: Path | None,
    output: Path | None,
    *,
    series: str | None = None,
    channel: int | None = None,
) -> None:
    """Predict volumes and say what became of them; exit 3 if one could not be predicted."""
    from flexseg.inference.infer3d import infer3d as infer_volumes

    with progress("Predicting") as on_slice:
        result = infer_volumes(
            loaded, source, output, series=series, channel=channel, on_slice=on_slice
        )
    say(f"{len(result.volumes)} volume(s) predicted.")
    say(f"  {result.output}")
    if result.failed:
        for file, reason in result.failed.items():
            what = "not complete" if file in result.volumes else "not predicted"
            errors.print(f"[red]{what}:[/] {escape(reason)}", soft_wrap=True)
        raise typer.Exit(3)
