"""`flexseg demo`: everything on brain MRI that a package ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import console, say, select_backend
from flexseg.cli.command import Task, long_command
from flexseg.events import emit
from flexseg.machine import typed_command

# Columns of the picture in the terminal.
_WIDEST = 72


@long_command(Task.HELP)
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "demo"
    ),
) -> None:
    """Train, evaluate and predict on the brain MRI that ships with nilearn (extra `demo`)."""
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
    from flexseg.report.html import write_report
    from flexseg.report.sources import find_source
    from flexseg.runs.given import EVALUATION, ORIGINAL_SCORES, REPORT
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
        summary = evaluate(loaded, run / EVALUATION, run / ORIGINAL_SCORES)
        print_scores(console, summary)
        infer(loaded)
        report, _, _ = write_report(find_source(run), folder / REPORT)
    emit("result", folder=folder, report=report, summary=summary.as_dict())
    _show_case(folder / "dataset/test/images", run / "predictions_merged")
    images = output / "dataset" / "test" / "images"
    say(
        f"\nOpen {report}: scores, curves, best and worst cases.\n"
        f"More in {folder}:\n"
        "  run/predictions/             label masks (indexed PNG)\n"
        "  run/predictions_merged/      the masks laid over the images\n"
        "  run/epoch_change_infer/      the same images after every epoch\n"
        "  statistics/                  what the dataset looks like\n"
        "One averaged brain: this shows the way from data to score, no clinical result.\n\n"
        "What to do next:\n"
        "  Predict a folder or a file:\n"
        f"    {typed_command('infer', output, '-i', images, '-o', 'masks')}\n"
        "  Train on a folder of your own images and masks:\n"
        f"    {typed_command('auto', 'FOLDER', '--time', '10m', '-o', 'result')}\n"
        "  See what this machine can do:\n"
        f"    {typed_command('doctor')}"
    )


def _show_case(images: Path, overlays: Path) -> None:
    """An image and its prediction in the terminal, where that shows pictures."""
    import numpy as np

    from flexseg.cli.terminal_picture import can_show, half_blocks, side_by_side
    from flexseg.files.images import read_image

    if not can_show(console):
        return
    found = sorted(overlays.glob("*.png"))
    overlay = found[len(found) // 2]
    pictures = [read_image(path) for path in (images / overlay.name, overlay)]
    colored = [np.broadcast_to(p.reshape(*p.shape[:2], -1), (*p.shape[:2], 3)) for p in pictures]
    console.print(f"\n{overlay.stem} with its predicted mask:", markup=False)
    console.print(half_blocks(side_by_side(*colored), min(_WIDEST, console.width)))
