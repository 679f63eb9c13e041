"""`flexseg schema`: the JSON Schema of the config."""

from __future__ import annotations

import json
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
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
) -> None:
    """Write the JSON Schema of the config."""
    from flexseg.config import Experiment
    from flexseg.outputs import set_aside, write_text

    text = json.dumps(Experiment.model_json_schema(), indent=2)
    if output is None:
        typer.echo(text)
    else:
        set_aside(output)
        write_text(output, text + "\n")
        say(f"written: {output}")
