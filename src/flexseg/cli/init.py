"""`flexseg init`: a first config for a folder of images and masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    app,
    say,
)

if TYPE_CHECKING:
    pass


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
    from flexseg.planning.initialize import initialize

    for path in initialize(dataset, output, size, neighbours):
        say(f"written: {path}")
