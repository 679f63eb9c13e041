"""The options of a training in several processes, and how the command becomes these."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import console, say, state
from flexseg.errors import ConfigError
from flexseg.machine import pip_install
from flexseg.training.distributed.place import VARIABLE, Place

if TYPE_CHECKING:
    from flexseg.training.distributed.worker import Worker

ProcessesOption = Annotated[
    str | None,
    typer.Option(
        "--processes",
        metavar="N|auto",
        help="Train in N processes on JAX: all on this computer, or one of them with "
        "--coordinator and --process; auto: as many as SLURM has tasks.",
    ),
]
CoordinatorOption = Annotated[
    str | None,
    typer.Option(
        "--coordinator",
        metavar="HOST:PORT",
        show_default="$JAX_COORDINATOR_ADDRESS, else the first of SLURM's nodes",
        help="Where the processes of several computers meet: that of process 0, and a free port "
        "there.",
    ),
]
ProcessOption = Annotated[
    int | None,
    typer.Option(
        "--process",
        metavar="I",
        show_default="$SLURM_PROCID, else $JOB_COMPLETION_INDEX",
        help="Number of this process, from 0.",
    ),
]
WaitOption = Annotated[
    str,
    typer.Option(
        "--wait",
        metavar="DURATION",
        help="How long processes wait for each other at the start.",
    ),
]


def in_processes(
    place: Place, train: Callable[[Worker | None], None], backend: str | None, wait: str
) -> None:
    """Train as one of several processes, or start and watch those of this computer.

    Parameters
    ----------
    train : trains as the worker that it is given.
    wait : see `WaitOption`.

    Raises
    ------
    FlexsegError : as in one process, or since one of the others has failed.
    """
    from flexseg.config.durations import parse_duration

    if VARIABLE in os.environ:
        from flexseg.training.distributed.worker import Worker

        worker = Worker.of_this_process()
        console.quiet |= worker.index > 0
        worker.run(lambda: train(worker))
        return
    _require_jax(backend)
    from flexseg.training.distributed.supervisor import Supervisor

    if not place.leads:
        say(
            f"Process {place.indices[0]} of {place.count} follows process 0 at "
            f"{place.coordinator}, which tells how the training goes."
        )
    Supervisor(place, state.arguments, parse_duration(wait)).run()


def _require_jax(backend: str | None) -> None:
    from flexseg.backend import installed

    wanted = backend or os.environ.get("KERAS_BACKEND")
    if wanted not in (None, "jax"):
        raise ConfigError(
            f"Several processes train together on JAX alone, not on {wanted}.",
            "Give --backend jax" + ("." if backend else ", or unset KERAS_BACKEND."),
            "--backend",
        )
    if "jax" not in installed():
        raise ConfigError(
            "Several processes train together on JAX, which is not installed with Keras here.",
            f"Install it on all computers: {pip_install('jax')}",
            "--processes",
        )
    if wanted is None:
        say("Several processes train on JAX (--backend jax).")
