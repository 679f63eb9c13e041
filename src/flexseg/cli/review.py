"""`flexseg review`: the annotations that look wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import BackendOption, console, open_trained, progress, say
from flexseg.cli.command import Task, long_command
from flexseg.cli.tables import Table, numbers, texts
from flexseg.events import emit
from flexseg.machine import typed


@long_command(Task.JUDGE)
def review(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of a run (preferably of a cross-validation), or its config."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for the results (default: `review` in the run's folder)."
        ),
    ] = None,
    backend: BackendOption = None,
) -> None:
    """Rank the annotations of a run: shifted, swapped, missing or invented ones come first."""
    from flexseg.config.findings import amount, some_of

    loaded = open_trained(run, backend=backend)
    from flexseg.config.load import input_paths
    from flexseg.evaluation.review.reviewed_cases import FOLDER, TABLE
    from flexseg.evaluation.review.reviewing import review as review_annotations
    from flexseg.own_results import claim_folder

    run_dir = loaded.experiment.train.run_dir
    if output is not None:
        claim_folder(output, input_paths(loaded.experiment, loaded.path))
    folder = output or run_dir / FOLDER
    with progress("Reviewing annotations") as on_case:
        ranked, found = review_annotations(loaded, folder, on_case)
    shown = [one for one in ranked if one.suspicious]
    rows = [
        {"case": one.case.id, "score": one.score, "kind": one.kind, "evidence": one.evidence}
        for one in shown
    ]
    emit("result", cases=len(ranked), suspicious=rows)
    if found.seen_in_training:
        say(
            "The network was trained on these annotations, and may have learned some mistakes. "
            "After `flexseg crossval` each is judged by a network that has not seen it."
        )
    if not shown:
        say(f"None of {amount(len(ranked), 'annotation')} stands out.")
    else:
        say(
            f"{some_of(len(shown), len(ranked), 'annotation', 'looks', 'look')} wrong; some may "
            "just be hard cases."
        )
        table = Table([*texts("case"), *numbers("score"), *texts("looks like", "evidence")])
        for one in shown:
            table.add(one.case.id, f"{one.score:.1f}", one.kind, one.evidence)
        table.print(console)
    say(f"All, ranked: {folder / TABLE}")
    if shown:
        say(f"Pictures (image, annotation, prediction): {folder / 'pictures'}")
    if output is None:
        say(f"With the scores on one page: flexseg report {typed(run_dir)}")
