"""`flexseg list`: what a config can name."""

from __future__ import annotations

import json
import logging
from enum import StrEnum
from typing import Annotated

import typer

from flexseg.cli.app import (
    JsonOption,
    console,
    select_backend,
)
from flexseg.cli.command import Task, command

logger = logging.getLogger(__name__)


class Kind(StrEnum):
    """What `flexseg list` can show."""

    models = "models"
    losses = "losses"
    metrics = "metrics"
    augmentations = "augmentations"


@command(Task.HELP, "list")
def list_registry(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    as_json: JsonOption = False,
) -> None:
    """List what a config can name: models, losses, metrics, augmentations."""
    select_backend(None)
    from flexseg.catalogue import CATALOGUE

    entries = CATALOGUE[kind]()
    if as_json:
        typer.echo(json.dumps(entries, indent=2, default=str))
    else:
        from flexseg.cli.printing import print_catalogue

        print_catalogue(console, kind, entries)
