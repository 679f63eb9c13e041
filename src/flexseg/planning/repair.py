"""`--repair`: an old config, its network kept, trained as one would train it today.

The network with its sizes and classes, the data and their splits stay, so that the weights fit
wherever those of the old config do, and both are scored on the same cases. What changes is how it
is trained (`flexseg.planning.recipe`). The results lie beside those of the old config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from flexseg.config.load import LoadedConfig, input_paths, output_folders
from flexseg.config.schema import DataSections, Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.quality.orientation import orientation_of
from flexseg.errors import DataError, FlexsegError
from flexseg.machine import typed
from flexseg.outputs import refuse_overlap
from flexseg.planning import repair_rules as rules
from flexseg.planning.repair_draft import Draft, from_shell
from flexseg.runs.manifest import FILE_NAME, Change, Manifest
from flexseg.training.distributed.variant import in_subfolder

FOLDER = "repaired"
SOURCE = "repair"


@dataclass(frozen=True)
class Repaired:
    """A config with its repair.

    Attributes
    ----------
    loaded : what to train and use; it is `original` if nothing is to be changed.
    notes : what the repair leaves alone although it would help.
    """

    original: LoadedConfig
    loaded: LoadedConfig
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()

    def note_in(self, manifest: Manifest) -> None:
        """Note the repair in the manifest of the run that it is trained in."""
        manifest.repair = list(self.changes)
        manifest.repair_notes = list(self.notes)


def repair(loaded: LoadedConfig, *, look: bool = True) -> Repaired:
    """What a config gains from the recipe without another network or other data.

    Values of the command line stay. A config that follows a schedule of its own keeps optimizer
    and learning rate, one with [augmentation] its augmentation.

    Parameters
    ----------
    look : look at the training data, for what mirroring may not do to them; without it, or where
        they cannot be found, the config alone decides, the names of its classes among it.
    """
    draft = Draft(loaded.experiment, loaded.sources)
    cases = _training_cases(loaded.experiment.data) if look else ()
    rules.repair_scale(draft)
    rules.repair_loss(draft)
    rules.repair_batches(draft)
    rules.repair_schedule(draft)
    labels = LabelMap.from_config(draft.result.class_sections)
    orientation = orientation_of(labels, cases)
    rules.repair_augmentation(draft, cases, orientation)
    rules.repair_views(draft, orientation)
    notes = tuple(rules.notes(draft.result))
    if not draft.changes:
        return Repaired(loaded, loaded, (), notes)
    return Repaired(loaded, _applied(loaded, draft.changes), tuple(draft.changes), notes)


def recorded(loaded: LoadedConfig) -> Repaired:
    """The repair that the trained network of `--repair` was trained with.

    It is read from the run, so that another version of the recipe, or data that have moved, do
    not change what is done with the network.

    Raises
    ------
    DataError : there is no such run, or its manifest is damaged.
    """
    folder = loaded.experiment.train.run_dir / FOLDER
    command = f"flexseg train {typed(loaded.path.name)} --repair"
    path = folder / FILE_NAME
    manifest = Manifest.find(folder)
    if manifest is None:
        raise DataError(
            "The repaired config has not been trained yet.", f"Run `{command}` first.", str(path)
        )
    if manifest.repair is None:
        raise DataError(
            "This run was not trained with --repair.",
            f"Run `{command}` again; the earlier results are moved aside.",
            str(path),
        )
    try:
        kept = [c for c in manifest.repair if not from_shell(loaded.sources, c.section, c.key)]
        changes, notes = tuple(manifest.repair), tuple(manifest.repair_notes)
        return Repaired(loaded, _applied(loaded, kept), changes, notes)
    except (ValueError, KeyError) as error:
        problem = type(error).__name__ if isinstance(error, ValidationError) else error
        raise DataError(
            f"This is not a manifest of a repaired run of this version ({problem}).",
            f"Run `{command}` again; the earlier results are moved aside.",
            str(path),
        ) from None


def _training_cases(data: DataSections) -> Sequence[Case]:
    """The cases to train on; none where they cannot be found, which training will say."""
    try:
        splits = find_splits(data, only=("train",))
    except FlexsegError:
        return ()
    return splits.cases.get("train", ())


def _applied(loaded: LoadedConfig, changes: Sequence[Change]) -> LoadedConfig:
    """The config with the changes, and its results in a folder of their own.

    Raises
    ------
    ConfigError : that folder would take the place of something that is read.
    """
    content = loaded.experiment.model_dump()
    for change in changes:
        content[change.section][change.key] = change.after
    experiment = in_subfolder(Experiment.model_validate(content), FOLDER)
    refuse_overlap(output_folders(experiment), input_paths(experiment, loaded.path))
    enabled = experiment.augmentation.enabled and not loaded.experiment.augmentation.enabled
    findings = (f for f in loaded.findings if not (enabled and f.code == "unused-augmentation"))
    return replace(
        loaded,
        experiment=experiment,
        findings=tuple(findings),
        sources=loaded.sources | {change.name: SOURCE for change in changes},
    )
