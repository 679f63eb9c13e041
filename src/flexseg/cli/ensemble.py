"""`flexseg ensemble`: several trained models of one task as one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import app, say, select_backend

logger = logging.getLogger(__name__)


@app.command()
def ensemble(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL_A MODEL_B [...]",
            help="Run folders, weights files (best_model.h5), or ensembles (ensemble.json).",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of ensemble.json and its members.")
    ] = Path("ensemble"),
) -> None:
    """Average the predictions of trained models of one task: write them as one package."""
    select_backend(None)
    from flexseg.own_results import claim_folder
    from flexseg.runs.members import make_ensemble

    claim_folder(output, models)
    made = make_ensemble(models, output)
    for source in made.sources:
        if source.unknown:
            logger.warning(
                "%s: %s. `flexseg evaluate` cannot refuse all test cases that it has seen: make "
                "sure of it yourself.",
                source.given,
                source.unknown,
            )
    for name, file in made.members.items():
        say(f"{name}: {file}")
    seen = len({digest for source in made.sources for digest in source.seen.all})
    say(
        f"Ensemble of {len(made.members)} models, {seen} images known that they have seen: "
        f"{made.file}\n"
        f"Use it: flexseg infer CONFIG --set train.model_dir={output} "
        f"--set train.best_model_file={made.file.name}"
    )
