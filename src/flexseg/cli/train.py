"""`flexseg train`: the network of a config."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    RepairOption,
    SetOption,
    StrictOption,
    TimeOption,
    console,
    open_config,
    say,
    say_next,
    state,
    with_time,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.processes import (
    CoordinatorOption,
    ProcessesOption,
    ProcessOption,
    WaitOption,
    in_processes,
)
from flexseg.events import emit
from flexseg.machine import near
from flexseg.training.distributed.place import place_of

if TYPE_CHECKING:
    from flexseg.training.distributed.worker import Worker

logger = logging.getLogger(__name__)


@long_command(Task.TRAIN)
def train(
    config: ConfigArgument,
    overrides: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted training.")
    ] = False,
    duration: TimeOption = None,
    repair: RepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
    processes: ProcessesOption = None,
    coordinator: CoordinatorOption = None,
    process: ProcessOption = None,
    wait: WaitOption = "5m",
) -> None:
    """Train the network of a config."""
    place = place_of(processes, coordinator, process)

    def train_here(worker: Worker | None = None) -> None:
        _train(
            config,
            with_time(overrides, duration),
            worker,
            resume=resume,
            repair=repair,
            strict=strict,
            backend=backend,
        )

    if place is None:
        train_here()
    else:
        in_processes(place, train_here, backend, wait)


def _train(
    config: Path,
    overrides: list[str],
    worker: Worker | None,
    *,
    resume: bool,
    repair: bool,
    strict: bool,
    backend: str | None,
) -> None:
    started = state.began
    loaded = open_config(config, overrides, strict, backend)
    sharing = worker.join() if worker is not None else None
    from flexseg.training.trainer import Training

    if repair:
        from flexseg.cli.repair import repaired_training

        training = repaired_training(loaded, resume=resume, started=started, sharing=sharing)
    else:
        training = Training(loaded, console, started=started, sharing=sharing)
    run = training.run(resume=resume)
    wanted = ("val_dice", "val_loss" if "val_loss" in run.history else "loss")
    values = ", ".join(
        f"{name} {run.history[name][run.best_epoch]:.4f}" for name in wanted if name in run.history
    )
    best = {name: values[run.best_epoch] for name, values in run.history.items()}
    emit("result", folder=run.folder, model=run.weights, best_epoch=run.best_epoch + 1, values=best)
    say(f"Best epoch {run.best_epoch + 1}: {values}\nWeights: {run.weights}")
    say_next("evaluate", near(run.folder))
