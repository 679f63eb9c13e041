"""`flexseg init`: a first config for a folder of data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import (
    ClassesOption,
    DatasetArgument,
    GroupOption,
    MaskNameOption,
    MasksOption,
    MaskValuesOption,
    SplitFileOption,
    answers_of,
    say,
    say_next,
)
from flexseg.cli.command import Task, command


@command(Task.TRAIN)
def init(
    dataset: DatasetArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the new config and scripts.")
    ] = Path(),
    split: SplitFileOption = None,
    group: GroupOption = None,
    masks: MasksOption = None,
    mask_name: MaskNameOption = None,
    mask_values: MaskValuesOption = None,
    classes: ClassesOption = None,
    size: Annotated[int | None, typer.Option(help="Size of the network's input in pixels.")] = None,
    neighbours: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=8,
            help="For slices of volumes: number of neighbouring slices on each side as further "
            "channels (2.5-D). Default: 1 for a folder of volumes, else 0.",
        ),
    ] = None,
) -> None:
    """Write a commented config and start scripts for a folder of data."""
    from flexseg.planning.initialize import initialize

    written = initialize(
        dataset,
        output,
        split_file=split,
        group=group,
        size=size,
        neighbours=neighbours,
        answers=answers_of(masks, mask_name, mask_values, classes),
        stage=say,
    )
    for path in written:
        say(f"Written: {path}")
    say_next("check", written[0])
