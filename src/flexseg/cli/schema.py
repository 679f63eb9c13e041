"""`flexseg schema`: the JSON Schema of the config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import say, select_backend
from flexseg.cli.command import Task, command


@command(Task.HELP)
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
) -> None:
    """Write the JSON Schema of the config."""
    select_backend(None)
    import flexseg.models  # noqa: F401 - registers the networks, whose options are keys
    from flexseg.config.json_schema import config_schema
    from flexseg.outputs import set_aside, write_text
    from flexseg.own_results import claim_file, json_with

    text = json.dumps(config_schema(), indent=2)
    if output is None:
        typer.echo(text)
    else:
        claim_file(output, "JSON Schema", json_with("$schema", "$defs"))
        set_aside(output)
        write_text(output, text + "\n")
        say(f"Written: {output}")
