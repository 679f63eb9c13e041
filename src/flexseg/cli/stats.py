"""`flexseg stats`: how many images a dataset has, and what they look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import MaskNameOption, MasksOption, answers_of, say, tell_failed
from flexseg.cli.command import Task, command


@command(Task.LOOK)
def stats(
    dataset: Annotated[Path, typer.Argument(help="Folder of images and masks, or of volumes.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the pictures.")
    ] = None,
    masks: MasksOption = None,
    mask_name: MaskNameOption = None,
) -> None:
    """Draw the number of images in a dataset, and contact sheets of its images and masks."""
    from flexseg.dataset.statistics import draw_statistics

    drawn = draw_statistics(dataset, output or Path(), answers_of(masks, mask_name))
    for path in drawn.files:
        say(f"Written: {path}")
    for note in drawn.notes:
        say(note)
    tell_failed(drawn.failed)
