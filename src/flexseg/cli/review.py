"""`flexseg review`: the annotations that look wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import BackendOption, JsonOption, app, console, progress, say, select_backend
from flexseg.cli.tables import Table, numbers, texts
from flexseg.machine import typed

if TYPE_CHECKING:
    from flexseg.config.load import LoadedConfig


@app.command()
def review(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of a run (best of a cross-validation), or its config."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the results (default: review in the run's)."
        ),
    ] = None,
    as_json: JsonOption = False,
    backend: BackendOption = None,
) -> None:
    """Rank the annotations of a run: shifted, exchanged, missing or invented ones come first."""
    select_backend(backend)
    from flexseg.config.load import input_paths
    from flexseg.evaluation.review.reviewing import FOLDER, TABLE
    from flexseg.evaluation.review.reviewing import review as review_annotations
    from flexseg.own_results import claim_folder

    loaded = _trained(run)
    run_dir = loaded.experiment.train.run_dir
    if output is not None:
        claim_folder(output, input_paths(loaded.experiment, loaded.path))
    folder = output or run_dir / FOLDER
    with progress("Looking at annotations") as on_case:
        ranked, found = review_annotations(loaded, folder, on_case)
    shown = [one for one in ranked if one.suspicious]
    if as_json:
        rows = [
            {"case": one.case.id, "score": one.score, "kind": one.kind, "evidence": one.evidence}
            for one in shown
        ]
        typer.echo(json.dumps({"cases": len(ranked), "suspicious": rows}, indent=2))
        return
    if found.seen_in_training:
        say(
            "The network was trained on these annotations, and may have learned some mistakes. "
            "After `flexseg crossval` each is judged by a network that has not seen it."
        )
    if not shown:
        say(f"None of {len(ranked)} annotations stands out.")
    else:
        say(f"{len(shown)} of {len(ranked)} annotations look wrong; hard cases may be among them.")
        table = Table([*texts("case"), *numbers("score"), *texts("looks like", "evidence")])
        for one in shown:
            table.add(one.case.id, f"{one.score:.1f}", one.kind, one.evidence)
        table.print(console)
    say(f"All, ranked: {folder / TABLE}")
    if shown:
        say(f"Pictures (image, annotation, prediction): {folder / 'pictures'}")
    if output is None:
        say(f"With the scores on one page: flexseg report {typed(run_dir)}")


def _trained(path: Path) -> LoadedConfig:
    """The config that a run, or the run of a config, was trained with."""
    import flexseg.models  # noqa: F401 - registers the networks
    from flexseg.config import load
    from flexseg.runs.manifest import trained_own_network
    from flexseg.runs.trained import config_of_run

    folder = path if path.is_dir() else load(path).experiment.train.run_dir
    loaded = config_of_run(folder)
    run_dir = loaded.experiment.train.run_dir
    trust = partial(trained_own_network, config_file=loaded.path, run_dir=run_dir)
    return replace(loaded, trust=trust)
