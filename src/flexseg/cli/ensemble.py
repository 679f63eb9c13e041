"""`flexseg ensemble`: several trained models of one task as one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import say, say_next, select_backend
from flexseg.cli.command import Task, command

logger = logging.getLogger(__name__)


@command(Task.SHARE)
def ensemble(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL_A MODEL_B [...]",
            help="Two or more folders of runs, models (best_model.h5, ensemble.json) or configs.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for ensemble.json and its members.")
    ] = Path("ensemble"),
) -> None:
    """Combine trained models of one task into a package that averages their predictions."""
    from flexseg.runs.given import find_given

    for model in models:
        find_given(model)
    select_backend(None)
    from flexseg.own_results import claim_folder
    from flexseg.runs.members import make_ensemble

    claim_folder(output, models)
    made = make_ensemble(models, output)
    for source in made.sources:
        if source.unknown:
            logger.warning(
                "%s: %s. `flexseg evaluate` cannot refuse all test cases that the ensemble has "
                "seen: make sure yourself that there are none.",
                source.given,
                source.unknown,
            )
    for name, file in made.members.items():
        say(f"{name}: {file}")
    seen = len({digest for source in made.sources for digest in source.seen.all})
    say(
        f"Ensemble of {len(made.members)} models, {seen} images known that they have seen: "
        f"{made.file}"
    )
    say_next("infer", output, "-i", "FOLDER", "-o", "RESULT")
