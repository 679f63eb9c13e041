"""`flexseg tune-postprocessing`: what to do with predictions, chosen on the validation set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flexseg.cli.app import (
    BackendOption,
    SetOption,
    StrictOption,
    TrainedArgument,
    TrainedRepairOption,
    console,
    open_trained,
    progress,
    say,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.tables import Table, numbers, texts, with_interval
from flexseg.events import emit

if TYPE_CHECKING:
    from flexseg.config.schema import Experiment
    from flexseg.dataset.cases import Case
    from flexseg.evaluation.postprocessing.improvement import Trial
    from flexseg.evaluation.postprocessing.tuning import Tuned


@long_command(Task.PREDICT, "tune-postprocessing")
def tune_postprocessing(
    trained: TrainedArgument,
    overrides: SetOption = None,
    tta: Annotated[
        bool,
        typer.Option(
            "--tta", help="Also try test-time flips (prediction takes four times as long)."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for the tables (default: in the run's folder)."
        ),
    ] = None,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
) -> None:
    """Choose threshold and postprocessing on the validation set, and keep only what helps there."""
    loaded = open_trained(trained, overrides, strict, backend, repaired=repair)
    from flexseg.config.load import input_paths
    from flexseg.evaluation.postprocessing.tuning import tune
    from flexseg.own_results import claim_folder

    if output is not None:
        claim_folder(output, input_paths(loaded.experiment, loaded.path))
    folder = output or loaded.experiment.train.run_dir / "postprocessing"
    folds = _folds(loaded.experiment)
    with progress("Predicting") as on_case:
        tuned = tune(loaded, folder, views=tta, folds=folds, on_case=on_case)
    trials = [trial.as_dict() for trial in tuned.trials]
    emit("result", folder=tuned.folder, file=tuned.file, trials=trials)
    _print(tuned)
    say(f"All trials: {tuned.folder}\nThe choice, used by evaluate and infer: {tuned.file}")


def _folds(experiment: Experiment) -> list[tuple[Case, ...]] | None:
    """Of a cross-validation, the cases that each member of its ensemble has not seen."""
    from flexseg.inference.model_files import is_ensemble
    from flexseg.runs.folds import FILE_NAME, recorded_division

    train = experiment.train
    if not is_ensemble(train.model_dir / train.best_model_file):
        return None
    if not (train.run_dir / FILE_NAME).exists():
        return None
    return [fold.held_out for fold in recorded_division(experiment.data, train.run_dir).folds]


def _print(tuned: Tuned) -> None:
    from flexseg.config.findings import amount

    pooled = tuned.choice.evidence.get("split") == "folds"
    where = (
        "folds, each predicted by the member that has not seen it" if pooled else "validation set"
    )
    for kind, title in (("2d", "image"), ("3d", "volume")):
        trials = [trial for trial in tuned.trials if trial.kind == kind]
        if not trials:
            continue
        console.print(
            f"[bold]{amount(trials[0].cases, title)} of the {where} "
            f"({amount(trials[0].groups, 'group')}).[/] Gain: in the mean score."
        )
        table = Table([*texts("class", "step"), *numbers("gain"), *texts("")])
        for trial in _shown(trials):
            style = "green" if trial.kept else None
            word = "kept" if trial.kept else trial.reason
            step = trial.step if trial.value is True else f"{trial.step} = {trial.value}"
            table.add(trial.class_name, step, _gain(trial), word, style=style)
        table.print(console)
        for name, scores in tuned.scores.get(kind, {}).items():
            before, after = scores["dice_before"], scores["dice_after"]
            if before is not None and after is not None:
                line = f"{name}: Dice {before:.4f}, with all kept steps {after:.4f}"
                console.print(line, markup=False)
    console.print(
        "The score is the Dice of a case; 1 or 0 where its reference lacks the class. The chosen "
        "steps score too well on the cases that chose them: the test set tells what they are "
        "worth."
    )


def _shown(trials: Sequence[Trial]) -> list[Trial]:
    """Of each step of a class the value that is kept, or the best one."""
    best: dict[tuple[str, str], Trial] = {}
    for trial in trials:
        key = (trial.class_name, trial.step)
        if key not in best or (trial.kept, trial.gain) > (best[key].kept, best[key].gain):
            best[key] = trial
    return list(best.values())


def _gain(trial: Trial) -> Text | str:
    if not trial.changed:
        return "0"
    ends = None if trial.low is None or trial.high is None else (trial.low, trial.high)
    return with_interval(trial.gain, ends, sign=True)
