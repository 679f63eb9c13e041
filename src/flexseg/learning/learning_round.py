"""A round of learning: train on what was corrected, and keep the model that is not worse."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from flexseg.batches.store import CaseReader
from flexseg.config.findings import amount, examples
from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import Experiment
from flexseg.dataset.division.splits import SPLITS
from flexseg.dataset.labels import LabelMap, make_classes
from flexseg.dataset.marks.class_names import parse_class_names
from flexseg.errors import ConfigError, DataError
from flexseg.evaluation.aggregate import mean_or_none
from flexseg.evaluation.image_scores import evaluate_model
from flexseg.evaluation.postprocessing.tuning import tune
from flexseg.forecast.scored_cases import dice_of
from flexseg.inference.loading import make_predictor
from flexseg.inference.sliding_window import as_trained
from flexseg.learning.acceptance import FEWEST_CASES, Acceptance, accept
from flexseg.learning.case_pool import POOL, CasePool, PooledCase
from flexseg.learning.corrections import CORRECTIONS, Corrections
from flexseg.learning.forgetting import note_learned
from flexseg.learning.slice_cases import CaseKind, learned_kinds
from flexseg.learning.versions import Version, Versions
from flexseg.model_file.model_description import ModelDescription
from flexseg.one_writer import exclusive
from flexseg.outputs import set_aside, write_json
from flexseg.planning.plan import make_plan
from flexseg.runs.trained import config_of_run, find_network, trained_config
from flexseg.training.trainer import Training

logger = logging.getLogger(__name__)

VERSIONS = "versions"
# Times that corrections are held out in turn, where few cases validate.
_FOLDS = 3
# Without so many cases nothing is learned, and nothing can be held out.
_FEWEST = 3


@dataclass(frozen=True)
class Round:
    """What came of a round.

    Attributes
    ----------
    version : the new one, taken or not.
    left_out : corrections of test cases, which are not learned from.
    seconds : it took.
    """

    version: Version
    acceptance: Acceptance | None
    left_out: Sequence[str]
    seconds: float


def begin(folder: Path, model: Path) -> Versions:
    """Make a trained model the first version of a folder that has none, or this one already.

    Raises
    ------
    ConfigError : it began with another model, or there is no model.
    DataError : the model is damaged, or several networks.
    """
    versions = Versions.open(folder)
    file = find_network(model, "MODEL").file.absolute()
    if versions.versions:
        if versions.get(1).model == str(file):
            return versions
        raise ConfigError(
            "Another model learns in this folder already.",
            "Leave the model out to go on with that one, or give another folder.",
            str(folder),
        )
    with exclusive(folder):
        return versions.added(Version(1, str(file), None, True, ""))


def labels_of(folder: Path, classes: str | None) -> LabelMap | None:
    """The classes of the current version; before the first those that are named.

    Parameters
    ----------
    classes : "ID=NAME,ID=NAME"; None: nobody names them, so that the corrections have to.

    Raises
    ------
    ConfigError : both are given, or the text is written otherwise.
    """
    package = _current(folder)
    if package is None:
        if classes is None:
            return None
        names = parse_class_names(classes, "--classes")
        ids = range(1, len(names) + 1)
        if sorted(names) != list(ids):
            raise ConfigError(
                f"The classes are numbered {', '.join(map(str, sorted(names)))}.",
                "Number them 1, 2, 3, ... without a gap.",
                "--classes",
            )
        return LabelMap.of_foreground(make_classes([(names[i], (i,)) for i in ids])[1:])
    if classes is not None:
        raise ConfigError("The model has its classes already.", "Leave --classes out.", "--classes")
    return package.labels


def kinds_of(folder: Path) -> tuple[CaseKind, ...]:
    """What the current version learns from; before the first, what one from nothing does."""
    package = _current(folder)
    if package is None:
        return learned_kinds(of_slices=False)
    p = package.preprocessing
    return learned_kinds(of_slices=p.of_slices, neighbours=p.neighbours)


def _current(folder: Path) -> ModelDescription | None:
    versions = Versions.open(folder)
    return ModelDescription.read(versions.model()) if versions.current else None


class LearningRound:
    """One round in a folder with `corrections/`, `cases/`, `versions/` and `versions.json`.

    Parameters
    ----------
    seconds : for the training; plan and comparison come to it.
    stage : told what is going on.
    """

    def __init__(
        self,
        folder: Path,
        seconds: float,
        console: Console | None = None,
        stage: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder = folder.absolute()
        self.seconds = seconds
        self._console = console
        self._stage = stage

    def run(self) -> Round:
        """Train, compare, and take the new model unless it is worse.

        Raises
        ------
        ConfigError, DataError : there is nothing to learn from, or files are damaged.
        TrainingError, Interrupted, ResourceError : see `Training`.
        """
        began = time.monotonic()
        with exclusive(self.folder):
            versions = Versions.open(self.folder)
            start = versions.model() if versions.current else None
            pool = self._pool(start)
            number = versions.next_number
            place = self.folder / VERSIONS / str(number)
            set_aside(place)  # what a round has left that did not come to its end
            self._stage("Planning")
            plan = make_plan(
                pool.folder,
                place,
                self.seconds,
                split_file=pool.split_file,
                start_from=start,
                neighbours=pool.neighbours,
            )
            settings = [f"train.minutes={self.seconds / 60:.4f}", *_as_before(pool, start)]
            acceptance = None
            if start is not None and len(pool.units(pool.of_part("valid"))) < FEWEST_CASES:
                acceptance = self._held_out(pool, plan.config, settings, start)
            self._stage("Training")
            model = self._trained(load(plan.config, settings))
            if start is not None and acceptance is None:
                self._stage("Comparing both models")
                acceptance = self._compared(pool, start, model)
            test = self._test_dice(pool, model)
            version = Version(
                number,
                model.relative_to(self.folder).as_posix(),
                versions.current or None,
                acceptance is None or acceptance.taken,
                "",
                len(pool.units(pool.corrected)),
                {} if acceptance is None else acceptance.as_dict(),
                test,
            )
            note_learned(self.folder, number, [case.correction for case in pool.corrected])
            versions = versions.added(version, test_looks=int(test is not None))
            made = versions.get(number)
        return Round(made, acceptance, pool.left_out, time.monotonic() - began)

    def _pool(self, start: Path | None) -> CasePool:
        self._stage("Gathering the cases")
        package = None if start is None else ModelDescription.read(start)
        corrections = Corrections(
            self.folder / CORRECTIONS, None if package is None else package.labels
        )
        preprocessing = None if package is None else package.preprocessing
        pool = CasePool.open(self.folder / POOL, corrections.labels, preprocessing)
        if not pool.cases and start is not None and package is not None:
            self._add_training(pool, start, package)
        pool.add_corrections(corrections)
        if pool.left_out:
            logger.warning(
                "%s of test cases, and not learned from: %s",
                amount(len(pool.left_out), "correction", "is", "are"),
                examples(pool.left_out),
            )
        corrected, every = len(pool.units(pool.corrected)), len(pool.units(pool.cases.values()))
        if not corrected or every < _FEWEST:
            raise DataError(
                f"There is too little to learn from: {amount(corrected, 'correction')}, "
                f"{amount(every, 'case')} in all.",
                f"Correct or accept at least {_FEWEST} cases.",
                str(corrections.folder),
            )
        pool.write()
        return pool

    def _add_training(self, pool: CasePool, start: Path, package: ModelDescription) -> None:
        run = find_network(start, "MODEL").run
        if run is None:
            logger.warning(
                "%s lies without its run, so its training cases are not known: the new model "
                "learns from the corrections alone, and may forget.",
                start.name,
            )
            return
        try:
            pool.add_training(config_of_run(run), package)
        except DataError as error:
            pool.cases.clear()
            logger.warning(
                "The cases of the model's training cannot be read: the new model learns from the "
                "corrections alone, and may forget. %s",
                error,
            )

    def _trained(self, loaded: LoadedConfig) -> Path:
        """Train a config, and choose its postprocessing; the file of the model."""
        run = Training(loaded, self._console, started=time.monotonic()).run()
        tune(loaded, loaded.experiment.train.run_dir / "postprocessing")
        return run.weights

    def _compared(self, pool: CasePool, old: Path, new: Path) -> Acceptance:
        cases = pool.of_part("valid")
        scores = self._dice(pool, cases, old), self._dice(pool, cases, new)
        return accept(*scores, _groups(pool, cases))

    def _held_out(
        self, pool: CasePool, config: Path, settings: Sequence[str], old: Path
    ) -> Acceptance:
        """Both models on corrections that the new one has not been trained on, in turn."""
        mine = pool.corrected
        owners = sorted({case.group for case in mine})
        fold_of = {group: number % _FOLDS for number, group in enumerate(owners)}
        scores: dict[str, float] = {}
        for fold in range(min(_FOLDS, len(owners))):
            held = [case for case in mine if fold_of[case.group] == fold]
            count = amount(len(pool.units(held)), "correction")
            self._stage(f"Training without {count}, to compare")
            place = config.parent / f"held_out_{fold}"
            split = place.with_suffix(".json")
            names = {case.name for case in held}
            # The others validate among themselves: those held out choose nothing.
            parts = {
                part: [case for case in pool.of_part(part) if case.name not in names]
                for part in SPLITS
            }
            if not parts["valid"]:
                last = parts["train"][-1].group
                parts["valid"] = [case for case in parts["train"] if case.group == last]
                parts["train"] = [case for case in parts["train"] if case.group != last]
            write_json(split, {part: [case.name for case in own] for part, own in parts.items()})
            changed = [f"dataset.split_file={split}", f"train.run_dir={place}"]
            model = self._trained(load(config, [*settings, *changed]))
            scores |= self._dice(pool, held, model)
        return accept(self._dice(pool, mine, old), scores, _groups(pool, mine), held_out=True)

    def _test_dice(self, pool: CasePool, model: Path) -> float | None:
        """For the record only: it decides nothing."""
        cases = pool.of_part("test")
        if not cases:
            return None
        self._stage("Scoring the test cases")
        return mean_or_none(np.array(list(self._dice(pool, cases, model).values())))

    def _dice(self, pool: CasePool, cases: Sequence[PooledCase], model: Path) -> dict[str, float]:
        """Image, or volume by all its slices, -> mean Dice of its classes."""
        loaded = trained_config(model, alone=True)
        predictor = make_predictor(loaded)
        package = predictor.package
        reader = CaseReader(package.preprocessing, pool.labels)
        scored = evaluate_model(
            as_trained(predictor, loaded.experiment.tiledinfer),
            [pool.case(case) for case in cases],
            reader,
            {},
        )
        units: dict[str, NDArray[np.int64]] = {}
        for case, matrix in zip(scored.cases, scored.matrices, strict=True):
            unit = pool.unit(case.id)
            units[unit] = units.get(unit, 0) + matrix
        return {unit: dice_of(matrix) for unit, matrix in units.items()}


def _groups(pool: CasePool, cases: Sequence[PooledCase]) -> dict[str, str]:
    return {pool.unit(case.name): case.group for case in cases}


def _as_before(pool: CasePool, model: Path | None) -> list[str]:
    """How the current version predicts volumes, which slices do not tell, as overrides.

    Mirror images would take the time of a volume again.
    """
    if pool.rule is None:
        return []
    run = None if model is None else find_network(model, "MODEL").run
    e = Experiment() if run is None else config_of_run(run).experiment
    averages = ["infer3d.average_axes=true"] if e.infer3d.average_axes else []
    return [f"infer.tta={[*e.infer.tta]}", *averages]
