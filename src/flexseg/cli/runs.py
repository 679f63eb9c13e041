"""Commands that train and use networks."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    RepairOption,
    SetOption,
    StrictOption,
    TimeOption,
    TrainedRepairOption,
    app,
    console,
    errors,
    load_config,
    progress,
    say,
    select_backend,
    with_time,
)
from flexseg.errors import ConfigError

if TYPE_CHECKING:
    from flexseg.config.schema import Experiment
    from flexseg.evaluation.evaluate import CaseScores

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
        from flexseg.cli.repairs import repaired_training

        training = repaired_training(loaded, resume=resume, started=started)
    else:
        training = Training(loaded, console, started=started)
    run = training.run(resume=resume)
    say(f"Best epoch {run.best_epoch + 1}: val_loss {run.best_loss:.4f}\nWeights: {run.weights}")


@app.command()
def evaluate(
    config: ConfigArgument,
    overrides: SetOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Score this folder of masks or label volumes instead of the model."),
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Reference masks or volumes for --predictions.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results.")
    ] = None,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Score the trained model, or any folder of masks, per case and class."""
    from flexseg.reporting import print_scores

    if repair and predictions is not None:
        raise ConfigError(
            "--repair is of a trained model, --predictions of any masks.", "Leave one of them out."
        )
    loaded = load_config(config, overrides, strict, repair)
    if (predictions is None) != (masks is None):
        raise ConfigError(
            "--predictions and --masks belong together.", "Give both, or none of them."
        )
    if predictions is not None and masks is not None:
        from flexseg.evaluation.evaluate import write_evaluation

        scores, lonely = _score(predictions, masks, loaded.experiment)
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
    if repair:
        from flexseg.cli.repairs import tell_gain

        tell_gain(loaded.experiment.train.run_dir, folder)
    say(f"Results: {folder}")


def _score(predictions: Path, masks: Path, experiment: Experiment) -> tuple[CaseScores, list[str]]:
    """Score two folders of masks, or of label volumes."""
    from flexseg.data.labels import LabelMap
    from flexseg.evaluation.evaluate import score_folders
    from flexseg.evaluation.scoring import Measures
    from flexseg.evaluation.volumes import hold_volumes, score_volume_folders

    if not hold_volumes(predictions, masks):
        return score_folders(predictions, masks, experiment)
    with progress("Scoring volumes") as on_case:
        return score_volume_folders(
            predictions,
            masks,
            LabelMap.from_experiment(experiment),
            Measures.from_config(experiment.eval),
            mask_name=experiment.dataset.mask_name,
            group=experiment.dataset.group,
            on_case=on_case,
        )


@app.command()
def infer(
    config: ConfigArgument,
    overrides: SetOption = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="Folder or file (default: \\[infer] images_dir)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the masks.")
    ] = None,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Predict masks and overlays for a folder of images or one file; label volumes for volumes."""
    select_backend(backend)
    from flexseg.inference.infer3d import holds_volumes
    from flexseg.inference.run import infer as infer_trained

    loaded = load_config(config, overrides, strict, repair)
    place = source or loaded.experiment.infer.images_dir
    if place is not None and holds_volumes(place):
        from flexseg.cli.infer3d import predict_volumes

        predict_volumes(loaded, place, output)
        return
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
