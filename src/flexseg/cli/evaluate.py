"""`flexseg evaluate`: the scores of a trained model, or of any folder of masks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    ConfigArgument,
    SetOption,
    StrictOption,
    TrainedRepairOption,
    app,
    console,
    load_config,
    progress,
    say,
    select_backend,
)
from flexseg.errors import ConfigError

if TYPE_CHECKING:
    from flexseg.config.schema import Experiment
    from flexseg.evaluation.evaluate import CaseScores
logger = logging.getLogger(__name__)


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
    from flexseg.cli.printing import print_scores

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
        from flexseg.evaluation.trained_images import evaluate as evaluate_trained
        from flexseg.runs.manifest import Manifest
        from flexseg.runs.tracking import Tracker

        run_dir = loaded.experiment.train.run_dir
        folder = output or run_dir / "evaluation"
        legacy_csv = (output or run_dir) / "evaluation.csv"
        with progress("Evaluating") as on_case:
            summary = evaluate_trained(loaded, folder, legacy_csv, on_case)
        manifest = Manifest.start(run_dir, loaded)
        Tracker(manifest, loaded.experiment.train.mlflow).evaluation(folder, summary.as_dict())
    print_scores(console, summary)
    if repair:
        from flexseg.cli.repair import tell_gain

        tell_gain(loaded.experiment.train.run_dir, folder)
    say(f"Results: {folder}")


def _score(predictions: Path, masks: Path, experiment: Experiment) -> tuple[CaseScores, list[str]]:
    """Score two folders of masks, or of label volumes."""
    from flexseg.dataset.labels import LabelMap
    from flexseg.evaluation.evaluate import score_folders
    from flexseg.evaluation.label_volumes import hold_volumes, score_volume_folders
    from flexseg.evaluation.scoring import Measures

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
