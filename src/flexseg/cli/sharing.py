"""How commands share their work among workers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated

import typer

from flexseg.cli.infer import open_workers

SharingOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="NUMBER",
        min=1,
        show_default="none",
        help="Share the work among so many processes.",
    ),
]
ContinuedOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="NUMBER",
        min=1,
        show_default="none",
        help="Share the work among so many processes. A run that was interrupted goes on when the "
        "command is given again.",
    ),
]


def shared(workers: int | None, ray: str | None) -> AbstractContextManager[None]:
    """Lets the workers of `--workers` and `--ray` do what is mapped within the block, if given.

    Raises
    ------
    ConfigError, ResourceError : see `open_workers`.
    """
    from flexseg.execution.shared import shared_by

    first = open_workers(workers, ray)
    if first is None:
        return shared_by(None)
    # Those of the first mapping are there already, so that an error is told before any work.
    opened = [first]
    return shared_by(lambda: opened.pop() if opened else open_workers(workers, ray))
