"""`flexseg rename`: other names of classes, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import say
from flexseg.cli.command import Task, command
from flexseg.machine import typed


@command(Task.SHARE)
def rename(
    source: Annotated[
        Path, typer.Argument(help="Folder of a run, a model package (best_model.h5), or a config.")
    ],
    classes: Annotated[
        str,
        typer.Argument(
            metavar="NAMES", help="New names by class id, e.g. '1=cytoplasm,2=nucleus'."
        ),
    ],
) -> None:
    """Rename classes in config, packages, manifest and scores, without training again."""
    from flexseg.dataset.marks.class_names import parse_class_names
    from flexseg.runs.renaming import rename as rename_classes

    done = rename_classes(source, parse_class_names(classes, "NAMES"))
    for class_id, (before, after) in done.names.items():
        say(f"{class_id}: {before} -> {after}")
    for path in done.files:
        say(f"Written: {path}")
    for run in done.reported:
        say(f"The report keeps the old names until it is made again: flexseg report {typed(run)}")
