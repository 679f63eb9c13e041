"""`flexseg export-weights`: a model package as weights for the original systems."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import (
    SetOption,
    StrictOption,
    TrainedArgument,
    open_trained,
    say,
)
from flexseg.cli.command import Task, command

logger = logging.getLogger(__name__)


@command(Task.SHARE, "export-weights")
def export_weights(
    trained: TrainedArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, *.h5.")],
    overrides: SetOption = None,
    strict: StrictOption = False,
) -> None:
    """Write weights in the layout that the original systems read (Keras 2 HDF5)."""
    loaded = open_trained(trained, overrides, strict, alone=True)
    from flexseg.inference.loading import load_trained
    from flexseg.inference.model_files import model_file
    from flexseg.models.transfer import export_weights as write_weights

    package = load_trained(loaded, model_file(loaded))
    say(f"Written: {write_weights(package, output)}")
