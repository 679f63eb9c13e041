"""`flexseg evaluate`: the scores of a trained model, or of any folder of masks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    BackendOption,
    SetOption,
    StrictOption,
    TrainedArgument,
    TrainedRepairOption,
    console,
    open_trained,
    progress,
    read_trained,
    require_paths,
    say,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.sharing import ContinuedOption, RayOption, shared
from flexseg.errors import ConfigError, FlexsegError
from flexseg.events import emit
from flexseg.machine import real_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flexseg.config.schema import Experiment
    from flexseg.dataset.cases import Case
    from flexseg.dataset.division.splits import SplitName
    from flexseg.evaluation.case_scores import CaseScores
logger = logging.getLogger(__name__)


@long_command(Task.JUDGE)
def evaluate(
    trained: TrainedArgument,
    overrides: SetOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Score this folder of masks or label volumes (or an output folder of `flexseg "
            "infer3d`) instead of the model."
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Reference masks or volumes for --predictions.",
            show_default="those of the split that the config evaluates",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the results.")
    ] = None,
    repair: TrainedRepairOption = False,
    strict: StrictOption = False,
    backend: BackendOption = None,
    workers: ContinuedOption = None,
    ray: RayOption = None,
) -> None:
    """Score the trained model, or any folder of masks, per case and class."""
    if repair and predictions is not None:
        raise ConfigError(
            "--repair needs a trained model, while --predictions scores any masks.",
            "Leave one of the two out.",
        )
    if predictions is None and masks is not None:
        raise ConfigError(
            "--masks names the references for --predictions.", "Give both, or neither."
        )
    require_paths((predictions, masks))
    sharing = shared(workers, ray)
    loaded = (
        open_trained(trained, overrides, strict, backend, repaired=repair)
        if predictions is None
        else read_trained(trained, overrides, strict)
    )
    from flexseg.cli.printing import print_scores
    from flexseg.config.findings import examples

    if output is not None:
        from flexseg.config.load import input_paths
        from flexseg.own_results import claim_folder

        read = (predictions, masks, *input_paths(loaded.experiment, loaded.path))
        claim_folder(output, read)
    if predictions is not None:
        from flexseg.evaluation.case_scores import write_evaluation
        from flexseg.one_writer import exclusive

        only = None
        if masks is None:
            masks, only = _evaluated(loaded.experiment)
        name = f"evaluation_{real_path(predictions).name}"
        folder = output or loaded.experiment.train.run_dir / name
        with exclusive(folder), sharing:
            scores, unpaired = _score(predictions, masks, loaded.experiment, only, folder)
            if only is None:
                scores.notes += _note_of_training(scores.cases, loaded.experiment)
            summary = write_evaluation(scores, folder, loaded.experiment.eval.bootstrap)
        if unpaired:
            logger.warning(
                "Left out, as they have no partner: %d (%s)", len(unpaired), examples(unpaired)
            )
    else:
        from flexseg.evaluation.trained_images import evaluate as evaluate_trained
        from flexseg.runs.given import EVALUATION, ORIGINAL_SCORES
        from flexseg.runs.manifest import Manifest
        from flexseg.runs.tracking import Tracker

        run_dir = loaded.experiment.train.run_dir
        folder = output or run_dir / EVALUATION
        legacy_csv = (output or run_dir) / ORIGINAL_SCORES
        with sharing, progress("Evaluating") as on_case:
            summary = evaluate_trained(loaded, folder, legacy_csv, on_case)
        manifest = Manifest.start(run_dir, loaded)
        Tracker(manifest, loaded.experiment.train.mlflow).evaluation(folder, summary.as_dict())
    emit("result", folder=folder, summary=summary.as_dict())
    print_scores(console, summary)
    if repair:
        from flexseg.cli.repair import tell_difference

        tell_difference(loaded.experiment.train.run_dir, folder)
    say(f"Results: {folder}")


def _cases_of(e: Experiment, split: SplitName) -> tuple[Case, ...]:
    """The cases of a split of the config, volumes where it names some."""
    from flexseg.dataset.division.config_splits import find_splits
    from flexseg.evaluation.trained_volumes import volumes_of_split

    splits = find_splits(e.data, only=(split,))
    if e.volume.images_dir is not None:
        return volumes_of_split(e.volume, splits, split, e.dataset.group)
    splits.raise_errors()
    return splits.need(split)


def _evaluated(e: Experiment) -> tuple[Path, set[Path]]:
    """The folder and the files of the references of the split that the config evaluates."""
    from flexseg.config.findings import amount

    split = e.model.evaluation
    named = (e.dataset.masks_dir, e.volume.masks_dir, getattr(e.data, split).masks_dir)
    if not any(named):
        raise ConfigError(
            "The config names no masks to compare with.", "Give --masks FOLDER.", f"[{split}]"
        )
    files = {case.mask for case in _cases_of(e, split)}
    folders = {path.parent for path in files}
    if len(folders) > 1:
        raise ConfigError(
            f"The masks of the {split} split are in {len(folders)} folders.",
            "Name the one to compare with, by --masks FOLDER.",
            f"[{split}]",
        )
    (folder,) = folders
    count = amount(len(files), "case")
    say(f"Scoring the predictions of the config's {split} split: {count}, with masks in {folder}.")
    return folder, files


def _note_of_training(cases: Sequence[Case], e: Experiment) -> list[str]:
    """Tells of scored cases that the config trains on; empty where it names no data."""
    from flexseg.config.findings import some_of

    try:
        training = {real_path(case.mask) for case in _cases_of(e, "train")}
    except FlexsegError:
        return []
    among = sum(real_path(case.mask) in training for case in cases)
    if not among:
        return []
    return [
        f"{some_of(among, len(cases), 'case', 'is', 'are')} in the config's training split: a "
        "model that was trained on them scores too well there. Without --masks only the "
        f"{e.model.evaluation} split is scored."
    ]


def _score(
    predictions: Path, masks: Path, e: Experiment, only: set[Path] | None, folder: Path
) -> tuple[CaseScores, list[str]]:
    """Score two folders of masks, or of label volumes; another one gets the results."""
    from flexseg.dataset.division.config_splits import all_regions
    from flexseg.dataset.labels import LabelMap
    from flexseg.evaluation.image_scores import score_folders
    from flexseg.evaluation.scoring import Measures
    from flexseg.evaluation.volume_scores import (
        folder_of_predictions,
        hold_volumes,
        score_volume_folders,
    )

    given, predictions = predictions, folder_of_predictions(predictions)
    if predictions != given:
        say(f"Taking the predictions in {predictions}.")
    what = (
        predictions,
        masks,
        LabelMap.from_config(e.class_sections),
        Measures.from_config(e.eval),
    )
    pattern, group = e.dataset.mask_name, e.dataset.group
    with progress("Scoring") as on_case:
        regions = all_regions(e.data)
        if hold_volumes(predictions, masks):
            if regions.folders:
                raise ConfigError(
                    "ignore_dir and roi_dir are masks of images; they do not apply to volumes.",
                    "Mark what is ignored in the reference volumes, by a value named in [mask] "
                    "ignore; or leave ignore_dir and roi_dir out.",
                    "[dataset]",
                )
            return score_volume_folders(
                *what,
                mask_name=pattern,
                group=group,
                only=only,
                on_case=on_case,
                folder=folder,
            )
        folders = [section.images_dir for section in (e.test, e.valid, e.train, e.dataset, e.infer)]
        return score_folders(
            *what,
            mask_name=pattern,
            group=group,
            unknown=e.mask.unknown_colors,
            regions=regions,
            image_folders=folders,
            only=only,
            on_case=on_case,
            folder=folder,
        )
