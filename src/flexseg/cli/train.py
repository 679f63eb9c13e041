"""`flexseg train`: the network of a config."""

from __future__ import annotations

import logging
from typing import Annotated

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
    state,
    with_time,
)
from flexseg.cli.command import Task, long_command
from flexseg.events import emit

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
) -> None:
    """Train the network of a config."""
    started = state.began
    loaded = open_config(config, with_time(overrides, duration), strict, backend)
    from flexseg.training.trainer import Training

    if repair:
        from flexseg.cli.repair import repaired_training

        training = repaired_training(loaded, resume=resume, started=started)
    else:
        training = Training(loaded, console, started=started)
    run = training.run(resume=resume)
    wanted = ("val_dice", "val_loss" if "val_loss" in run.history else "loss")
    values = ", ".join(
        f"{name} {run.history[name][run.best_epoch]:.4f}" for name in wanted if name in run.history
    )
    best = {name: values[run.best_epoch] for name, values in run.history.items()}
    emit("result", folder=run.folder, model=run.weights, best_epoch=run.best_epoch + 1, values=best)
    say(f"Best epoch {run.best_epoch + 1}: {values}\nWeights: {run.weights}")
