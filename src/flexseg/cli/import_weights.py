"""`flexseg import-weights`: weights of an original system as a model package."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import (
    ConfigArgument,
    SetOption,
    StrictOption,
    open_config,
    say,
)
from flexseg.cli.command import Task, command

logger = logging.getLogger(__name__)


@command(Task.SHARE, "import-weights")
def import_weights(
    source: Annotated[Path, typer.Argument(help="best_model.h5 of an original system (Keras 2).")],
    config: ConfigArgument,
    overrides: SetOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Package to write (default: where the config's model belongs)."
        ),
    ] = None,
    strict: StrictOption = False,
) -> None:
    """Make a model package from weights that an original system has trained."""
    loaded = open_config(config, overrides, strict, inputs=(source,))
    from flexseg.models.transfer import import_weights as make_package

    target = make_package(source, loaded, output)
    say(f"Written: {target}")
