"""`flexseg export-weights`: a model package as weights for the original systems."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import (
    SetOption,
    StrictOption,
    app,
    load_config,
    say,
    select_backend,
)
from flexseg.cli.inspect import is_package

logger = logging.getLogger(__name__)


@app.command("export-weights")
def export_weights(
    source: Annotated[Path, typer.Argument(help="Config, or a model package (best_model.h5).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, *.h5.")],
    overrides: SetOption = None,
    strict: StrictOption = False,
) -> None:
    """Write weights in the layout that the original systems read (Keras 2 HDF5)."""
    select_backend(None)
    from flexseg.inference.loading import load_trained
    from flexseg.models.package import ModelPackage
    from flexseg.models.transfer import export_weights as write_weights

    if is_package(source, overrides):
        package = ModelPackage.load(source)
    else:
        package = load_trained(load_config(source, overrides, strict))
    say(f"written: {write_weights(package, output)}")
