"""`flexseg demo`: everything on brain MRI that a package ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import app, console, say, select_backend


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the demo.")] = Path(
        "demo"
    ),
) -> None:
    """Train, evaluate and infer on brain MRI that the package nilearn ships (extra `demo`)."""
    select_backend(None)
    from flexseg.cli.printing import print_scores
    from flexseg.config import load
    from flexseg.dataset.statistics import draw_statistics
    from flexseg.demo import write_demo
    from flexseg.evaluation.trained_images import evaluate
    from flexseg.inference.configured import infer
    from flexseg.one_writer import exclusive
    from flexseg.outputs import set_aside
    from flexseg.own_results import claim_folder, mark
    from flexseg.training.trainer import Training

    folder = output.absolute()
    claim_folder(folder)
    with exclusive(folder):
        set_aside(folder)
        mark(folder, "demo")
        loaded = load(write_demo(folder))
        draw_statistics(folder / "dataset", folder / "statistics")
        Training(loaded, console).run()
        run = folder / "run"
        print_scores(console, evaluate(loaded, run / "evaluation", run / "evaluation.csv"))
        infer(loaded)
    say(
        f"\nLook at {folder}:\n"
        "  run/predictions_merged/      predictions laid over the images\n"
        "  run/predictions/             label masks (indexed PNG)\n"
        "  run/eval/                    curves of loss and metric\n"
        "  run/epoch_change_infer/      the same images after every epoch\n"
        "  run/evaluation/              scores per case, and their summary\n"
        "  statistics/                  what the dataset looks like\n"
        "One averaged brain: this shows the way from data to score, not a clinical result."
    )
