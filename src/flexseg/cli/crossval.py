"""`flexseg crossval`: as many trainings as folds, and one score of all cases."""

from __future__ import annotations

from typing import Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    SetOption,
    StrictOption,
    app,
    console,
    load_config,
    progress,
    say,
    select_backend,
)


@app.command()
def crossval(
    config: ConfigArgument,
    folds: Annotated[int, typer.Option(metavar="K", help="Number of trainings.")] = 5,
    overrides: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on; finished folds are not trained again.")
    ] = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Train K networks, score each on the fold it has not seen, and keep them as an ensemble."""
    select_backend(backend)
    from flexseg.reporting import print_scores
    from flexseg.training.crossval import CrossValidation

    loaded = load_config(config, overrides, strict)
    validation = CrossValidation(loaded, overrides or (), folds, console)
    runs = validation.train(resume=resume)
    with progress("Scoring") as on_case:
        result = validation.score(runs, on_case)
    for fold in result.summary["crossval"]["folds"]:
        dice = "-" if fold["dice"] is None else f"{fold['dice']:.4f}"
        say(f"fold {fold['fold']}: Dice {dice} of {fold['cases']} cases")
    print_scores(console, result.summary)
    say(f"Results: {result.evaluation}\nEnsemble: {result.ensemble}")
