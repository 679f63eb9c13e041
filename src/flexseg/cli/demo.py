"""`flexseg demo`: everything on brain MRI that a package ships."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    app,
    console,
    select_backend,
)

if TYPE_CHECKING:
    pass
logger = logging.getLogger(__name__)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the demo.")] = Path(
        "demo"
    ),
) -> None:
    """Train, evaluate and infer on brain MRI that the package nilearn ships (extra `demo`)."""
    select_backend(None)
    from flexseg.demo import run_demo

    run_demo(output, console)
