"""`flexseg train`: the network of a config."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    RepairOption,
    SetOption,
    StrictOption,
    TimeOption,
    app,
    console,
    load_config,
    say,
    select_backend,
    with_time,
)

if TYPE_CHECKING:
    pass
logger = logging.getLogger(__name__)


@app.command()
def train(
    config: ConfigArgument,
    overrides: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training.")
    ] = False,
    duration: TimeOption = None,
    repair: RepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Train the network of a config."""
    started = time.monotonic()
    select_backend(backend)
    from flexseg.training.trainer import Training

    loaded = load_config(config, with_time(overrides, duration), strict)
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
    say(f"Best epoch {run.best_epoch + 1}: {values}\nWeights: {run.weights}")
