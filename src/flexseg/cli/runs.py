"""Commands that train and use networks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    SetOption,
    StrictOption,
    app,
    console,
    errors,
    load_config,
    progress,
    say,
    select_backend,
)
from flexseg.errors import ConfigError

logger = logging.getLogger(__name__)


@app.command()
def train(
    config: ConfigArgument,
    overrides: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training.")
    ] = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Train the network of a config."""
    select_backend(backend)
    from flexseg.training.trainer import Training

    run = Training(load_config(config, overrides, strict), console).run(resume=resume)
    say(f"Best epoch {run.best_epoch + 1}: val_loss {run.best_loss:.4f}\nWeights: {run.weights}")


@app.command()
def evaluate(
    config: ConfigArgument,
    overrides: SetOption = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score this folder of masks instead of the model.")
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Reference masks for --predictions.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results.")
    ] = None,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Score the trained model, or any folder of masks, per case and class."""
    from flexseg.reporting import print_scores

    loaded = load_config(config, overrides, strict)
    if (predictions is None) != (masks is None):
        raise ConfigError(
            "--predictions and --masks belong together.", "Give both, or none of them."
        )
    if predictions is not None and masks is not None:
        from flexseg.evaluation.evaluate import score_folders, write_evaluation

        scores, lonely = score_folders(predictions, masks, loaded.experiment)
        name = f"evaluation_{predictions.resolve().name}"
        folder = output or loaded.experiment.train.run_dir / name
        summary = write_evaluation(scores, folder, loaded.experiment.eval.bootstrap)
        if lonely:
            logger.warning("%d file(s) without partner: %s", len(lonely), ", ".join(lonely))
    else:
        select_backend(backend)
        from flexseg.evaluation.run import evaluate as evaluate_trained
        from flexseg.training.run import RunManifest
        from flexseg.training.tracking import Tracker

        run_dir = loaded.experiment.train.run_dir
        folder = output or run_dir / "evaluation"
        legacy_csv = (output or run_dir) / "evaluation.csv"
        with progress("Evaluating") as on_case:
            summary = evaluate_trained(loaded, folder, legacy_csv, on_case)
        Tracker(loaded, RunManifest(run_dir, loaded)).evaluation(folder, summary)
    print_scores(console, summary)
    say(f"Results: {folder}")


@app.command()
def infer(
    config: ConfigArgument,
    overrides: SetOption = None,
    source: Annotated[
        Path | None, typer.Option("--input", "-i", help="Folder or file [default: [infer]].")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the masks.")
    ] = None,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Predict masks and overlays for a folder of images or one file."""
    select_backend(backend)
    from flexseg.inference.run import infer as infer_trained

    loaded = load_config(config, overrides, strict)
    with progress("Predicting") as on_image:
        result = infer_trained(loaded, source, output, on_image)
    say(f"{len(result.areas)} image(s) predicted.")
    for folder in result.targets.folders():
        say(f"  {folder}")
    if result.failed:
        for reason in result.failed.values():
            errors.print(f"[red]not predicted:[/] {escape(reason)}")
        raise typer.Exit(3)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the demo.")] = Path(
        "demo"
    ),
) -> None:
    """Train, evaluate and infer on brain MRI that the package nilearn ships (extra `demo`)."""
    select_backend(None)
    from flexseg.demo import run_demo

    run_demo(output, console)
