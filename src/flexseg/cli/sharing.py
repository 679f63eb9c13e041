"""How commands share their work among workers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexseg.machine import usable_cores

if TYPE_CHECKING:
    from flexseg.execution.mapping import Workers

_CONTINUED = "A run that was interrupted goes on when the command is given again."


def _workers(more: str) -> Any:
    return typer.Option(
        "--workers",
        metavar="NUMBER",
        min=1,
        show_default="none",
        help=f"Share the work among so many processes{more}",
    )


WorkersOption = Annotated[int | None, _workers(f", each with a model of its own. {_CONTINUED}")]
SharingOption = Annotated[int | None, _workers(".")]
ContinuedOption = Annotated[int | None, _workers(f". {_CONTINUED}")]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="local|ADDRESS",
        show_default="none",
        help="Share the work among workers of a Ray cluster (extra `ray`), one for each GPU or "
        "else for each machine unless --workers says how many; `local`: of this machine.",
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


def open_workers(count: int | None, ray: str | None) -> Workers | None:
    """The workers of `--workers` and `--ray`.

    Raises
    ------
    ConfigError : there are more than processors, or Ray is not installed.
    ResourceError : the cluster cannot be reached.
    """
    if ray is not None:
        from flexseg.cluster.ray_workers import RayWorkers

        return RayWorkers(ray, count)
    if count is None:
        return None
    from flexseg.config.findings import amount
    from flexseg.errors import ConfigError
    from flexseg.execution.local_workers import LocalWorkers

    processors = usable_cores()
    if count > processors:
        raise ConfigError(
            f"{count} workers would share {amount(processors, 'processor')}.",
            f"Give at most {processors}.",
            "--workers",
        )
    return LocalWorkers(count)
