"""Cross-validation: as many trainings as folds, one honest score of all cases, one ensemble.

The cases for training and validation together are divided into folds by group, stratified by
class. A fold's network is trained on the cases of the other folds, of which a part chooses the
best epoch, and predicts the cases of its own fold, which it has not seen in any way. The test
set of the config takes no part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
from rich.console import Console

from flexseg import backend
from flexseg.batches.store import CaseReader
from flexseg.config.findings import Finding, amount
from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import GeneratorConfig
from flexseg.config.train import TrainConfig
from flexseg.dataset.division.splits import Splits
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError
from flexseg.evaluation.case_scores import (
    FILES_TABLE,
    PREDICTIONS,
    CaseScores,
    write_evaluation,
    write_files_table,
)
from flexseg.evaluation.image_scores import evaluate_model, prediction_writer
from flexseg.evaluation.postprocessing.ensemble_quality import calibrate_ensemble
from flexseg.evaluation.review.reviewed_cases import FOLDER as REVIEW
from flexseg.evaluation.review.reviewing import AnnotationReview
from flexseg.evaluation.scoring import Measures
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.inference.ensemble import refuse_as_weights, write_ensemble
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import ENSEMBLE, MEMBERS
from flexseg.inference.sliding_window import as_trained
from flexseg.machine import usable_cores
from flexseg.model_file.model_description import read_seen
from flexseg.model_file.seen_images import SeenImages
from flexseg.one_writer import exclusive
from flexseg.outputs import make_folder, set_aside, try_outputs, whole_folder, write_json
from flexseg.runs.folds import FILE_NAME as FOLDS_FILE
from flexseg.runs.folds import Fold, Folds, divide, recorded_division, write_folds
from flexseg.runs.given import CASES, EVALUATION, HISTORY, ORIGINAL_SCORES, REPORT, SUMMARY
from flexseg.runs.manifest import FILE_NAME as MANIFEST
from flexseg.runs.manifest import FoldScore, Manifest
from flexseg.runs.tracking import RUN_FILE, Tracker
from flexseg.training.at_once.fold_processes import FoldJob, train_folds
from flexseg.training.at_once.quiet import LOG_FILE
from flexseg.training.callbacks.recorder import SAMPLES
from flexseg.training.needs import disk_needs_of
from flexseg.training.trainer import Training, TrainingResult
from flexseg.training.warm_start import TABLE as START_TABLE

logger = logging.getLogger(__name__)

# What trainings and reports leave in a run folder, beside the folders that the config names.
_EARLIER_FILES = (
    MANIFEST,
    FOLDS_FILE,
    RUN_FILE,
    HISTORY,
    ORIGINAL_SCORES,
    SAMPLES,
    START_TABLE,
    REPORT,
    "report.json",
)


@dataclass(frozen=True)
class CrossValidated:
    """A finished cross-validation.

    Attributes
    ----------
    evaluation : folder of the pooled evaluation.
    """

    runs: list[TrainingResult]
    evaluation: Path
    ensemble: Path
    summary: EvaluationSummary


class CrossValidation:
    """One cross-validation, from its config to its files.

    Every fold is a run in `<run_dir>/fold_<k>`, the pooled evaluation is in
    `<run_dir>/evaluation`, the ensemble in `<run_dir>/models`, who is in which fold in
    `<run_dir>/folds.json`, and `<run_dir>/run.json` says what it was made of.

    Parameters
    ----------
    loaded : the config, read with `overrides`.
    overrides : "section.key=value" texts.
    resume : go on where an earlier one stopped, with its folds, of which finished ones are not
        trained again.
    processes : folds that are trained at a time, each with its share of the processors.

    Raises
    ------
    ConfigError : an output folder of the config is one and the same for all folds, the weights
        of the folds would be named like an ensemble, or each fold would be one.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        overrides: Sequence[str],
        count: int,
        console: Console,
        *,
        resume: bool = False,
        processes: int = 1,
    ) -> None:
        self.loaded = loaded
        self.overrides = tuple(overrides)
        self.processes = min(processes, count)
        self.experiment = loaded.experiment
        self.folder = loaded.experiment.train.run_dir
        self.evaluation = self.folder / EVALUATION
        self.ensemble = loaded.experiment.train.model_dir / ENSEMBLE
        self.count = count
        self.resume = resume
        self.console = console
        self.manifest = Manifest.start(self.folder, loaded)
        self.tracker = Tracker(self.manifest, loaded.experiment.train.mlflow)
        self._configs = [
            load(loaded.path, self._overrides_of(k), run_code=True) for k in range(count)
        ]
        for k, config in enumerate(self._configs):
            e = config.experiment
            _refuse_shared_outputs(e.train, e.generator, self.fold_folder(k))
        refuse_as_weights(loaded.experiment.train)
        _refuse_snapshots(loaded.experiment.train.snapshots)

    def fold_folder(self, k: int) -> Path:
        """Folder of a fold's run."""
        return self.folder / f"fold_{k}"

    def _overrides_of(self, k: int) -> list[str]:
        return [*self.overrides, f"train.run_dir={self.fold_folder(k)}"]

    def alone(self) -> AbstractContextManager[None]:
        """Hold all folders, from the training to the last score, see `exclusive`.

        Folds that other processes train are held by these, and only for as long.
        """
        own = self.count if self.processes == 1 else 0
        folds = map(self.fold_folder, range(own))
        return exclusive(self.folder, self.ensemble.parent, self.evaluation, *folds)

    @cached_property
    def division(self) -> Folds:
        """Who is in which fold: as noted by the one that goes on, else the cases are read for it.

        Raises
        ------
        ConfigError, DataError : see `divide` and `recorded_division`.
        """
        if not self.resume:
            labels = LabelMap.from_config(self.experiment.class_sections)
            return divide(self.experiment.data, labels, self.count)
        division = recorded_division(self.experiment.data, self.folder)
        if len(division.folds) != self.count:
            raise ConfigError(
                f"The cross-validation has {amount(len(division.folds), 'fold')}, not "
                f"{self.count}.",
                "Give --folds {len(division.folds)}, or start without --resume (the old results "
                "are moved aside).",
                "--folds",
            )
        return division

    def train(self, *, audited: Sequence[Finding] | None = None) -> list[TrainingResult]:
        """Train all folds.

        Parameters
        ----------
        audited : all findings of an audit of config and folds, for the manifest; None: there
            was none.

        Raises
        ------
        FlexsegError : anything that the user can act on; `Interrupted` after a signal.
        """
        with self.alone():
            return self._train_all(audited)

    def _train_all(self, audited: Sequence[Finding] | None) -> list[TrainingResult]:
        division = self.division
        self._prepare()
        known = [*self.loaded.findings, *division.findings] if audited is None else [*audited]
        self.manifest.add_data({"train": division.cases}, known)
        self.manifest.write(
            crossval={"folds": self.count},
            audited=audited is not None,
            seed=self.experiment.train.seed,
            versions=backend.versions(),
        )
        self.tracker.start(resumed=self.resume)
        with self._failures_noted():
            if self.processes > 1:
                return self._train_at_once(division)
            return [self._train(k, fold) for k, fold in enumerate(division.folds)]

    def score(
        self, runs: list[TrainingResult], on_case: Callable[[int, int], None] | None = None
    ) -> CrossValidated:
        """Score the trained folds together, and make the ensemble of them.

        How good its predictions are is learned from the cases that each member has not seen.

        Parameters
        ----------
        runs : what `train` returned.
        on_case : called with (done, total).

        Raises
        ------
        FlexsegError : a file cannot be read, or results cannot be written.
        """
        with self.alone(), self._failures_noted():
            scores, by_fold = self._score(runs, on_case)
            summary = write_evaluation(scores, self.evaluation, self.experiment.eval.bootstrap)
            summary.folds = by_fold
            summary.notes.append(
                f"Cross-validation: each case was predicted by the one of {self.count} networks "
                "that had not seen it, neither for its weights nor for the choice of its best "
                "epoch."
            )
            write_json(self.evaluation / SUMMARY, summary.as_dict())
            write_files_table(self.evaluation / FILES_TABLE, scores.cases)
            members = {f"fold_{k}": run.weights for k, run in enumerate(runs)}
            write_ensemble(self.ensemble, members, self._unnoted(members.values()))
            train = self.experiment.train.model_copy(update={"best_model_file": ENSEMBLE})
            experiment = self.experiment.model_copy(update={"train": train})
            folds = [fold.held_out for fold in self.division.folds]
            calibrate_ensemble(replace(self.loaded, experiment=experiment), folds, on_case)
        manifests = [Manifest.read(run.folder) for run in runs]
        self.manifest.write(
            status="finished",
            crossval={"folds": self.count, "scores": by_fold},
            error=None,
            seconds=round(sum(m.seconds or 0.0 for m in manifests), 1),
            weights=str(self.ensemble),
            parameters=manifests[0].parameters,
            precision=manifests[0].precision,
        )
        self.tracker.finish()
        self.tracker.evaluation(self.evaluation, summary.as_dict())
        return CrossValidated(runs, self.evaluation, self.ensemble, summary)

    @contextmanager
    def _failures_noted(self) -> Iterator[None]:
        """Manifest and MLflow say why a cross-validation has ended early."""
        try:
            with self.manifest.failures_noted():
                yield
        except BaseException:
            self.tracker.finish()
            raise

    def _prepare(self) -> None:
        files = [self.ensemble, self.evaluation / CASES]
        try_outputs(("[train] run_dir", file) for file in files)
        make_folder(self.folder)
        self._require_room()
        if self.resume:
            if earlier := Manifest.find(self.folder):
                _refuse_other_seed(earlier.seed, self.experiment.train.seed)
                self.manifest.continue_from(earlier)
            return
        for old in self._earlier():
            set_aside(old)
        write_folds(self.folder, self.division.ids())

    def _require_room(self) -> None:
        """Refuse folds whose files the disk has no room for; own networks are judged later."""
        e = self.experiment
        if ":" not in e.model.model:
            folders = [config.experiment.train.model_dir for config in self._configs]
            needs = disk_needs_of(e.model, e.train)
            needs.require(folders, e.train.best_model_file, resumed=self.resume)

    def _earlier(self) -> Iterator[Path]:
        """Where results of an earlier training or cross-validation may be."""
        yield from sorted(p for p in self.folder.glob("fold_*") if p.name[5:].isdecimal())
        train, generator = self.experiment.train, self.experiment.generator
        named = (
            train.model_dir,
            train.eval_dir,
            train.epoch_change_infer_dir,
            train.epoch_change_tiled_infer_dir,
            generator.generated_images_dir,
            generator.generated_masks_dir,
        )
        # A folder "." is the run's own, of which only what is known to be a result moves.
        yield from (path for path in named if path is not None and path != self.folder)
        yield from (self.evaluation, self.folder / REVIEW)
        yield from (self.ensemble, self.ensemble.parent / MEMBERS)
        yield from (self.folder / name for name in _EARLIER_FILES)

    def _train(self, k: int, fold: Fold) -> TrainingResult:
        self.console.print(
            f"[bold]Fold {k}[/] ({k + 1} of {self.count}): training on {len(fold.train)}, "
            f"validation on {len(fold.valid)}, scores on {amount(len(fold.held_out), 'case')}.",
            highlight=False,
        )
        started = (self.fold_folder(k) / MANIFEST).exists()
        training = Training(self._configs[k], self.console, _splits_of(fold))
        training.tracker.become_part_of(self.tracker.as_whole())
        run = training.run(resume=started)
        # Networks of earlier folds would stay in memory.
        keras.utils.clear_session()
        return run

    def _train_at_once(self, division: Folds) -> list[TrainingResult]:
        """The same, by several processes."""
        jobs = [
            FoldJob(
                number=k,
                config=self.loaded.path,
                overrides=tuple(self._overrides_of(k)),
                folder=self.fold_folder(k),
                splits=_splits_of(fold),
                backend=keras.backend.backend(),
                whole=self.tracker.as_whole(),
            )
            for k, fold in enumerate(division.folds)
        ]
        self.console.print(
            f"{self.count} folds, {self.processes} at a time, which share "
            f"{amount(usable_cores(), 'processor')}; how each does is in its {LOG_FILE}.",
            highlight=False,
        )

        def tell(job: FoldJob, run: TrainingResult) -> None:
            self.console.print(
                f"[bold]Fold {job.number}[/] is trained: best epoch {run.best_epoch + 1} of "
                f"{len(run.history['loss'])}, val_loss {run.best_loss:.4f}.",
                highlight=False,
            )

        return train_folds(jobs, self.processes, tell)

    def _unnoted(self, members: Iterable[Path]) -> SeenImages:
        """What members were trained on, if one of an earlier version does not tell itself."""
        if all(read_seen(member).all for member in members):
            return SeenImages()
        # What validates in one fold trains others.
        return SeenImages.of(case.image for case in self.division.cases)

    def _score(
        self, runs: Sequence[TrainingResult], on_case: Callable[[int, int], None] | None
    ) -> tuple[CaseScores, list[FoldScore]]:
        """All cases, each scored by the fold that has not seen it, and a row per fold."""
        measures = Measures.from_config(self.experiment.eval)
        labels = LabelMap.from_config(self.experiment.class_sections)
        make_folder(self.evaluation)
        pooled = CaseScores(labels, measures)
        review = AnnotationReview(labels, seen_in_training=False)
        total = len(self.division.cases)
        rows: list[FoldScore] = []
        with whole_folder(self.evaluation / PREDICTIONS) as predictions:
            write = prediction_writer(predictions, labels)
            for k, (fold, run) in enumerate(zip(self.division.folds, runs, strict=True)):
                done = len(pooled.cases)

                def report(count: int, _: int, done: int = done) -> None:
                    if on_case is not None:
                        on_case(done + count, total)

                trained = make_predictor(self._configs[k])
                predictor = as_trained(trained, self.experiment.tiledinfer)
                package = predictor.package
                reader = CaseReader(
                    package.preprocessing, package.labels, self.experiment.mask.unknown_colors
                )
                scores = evaluate_model(
                    predictor,
                    fold.held_out,
                    reader,
                    {},
                    report,
                    measures=measures,
                    keep=write,
                    look=review.add,
                )
                for case, result in zip(scores.cases, scores.results, strict=True):
                    pooled.put(case, result)
                pooled.inference = scores.inference
                macro = scores.summary(resamples=0).macro["dice"].mean
                rows.append(
                    FoldScore(
                        fold=k,
                        cases=len(fold.held_out),
                        dice=macro,
                        best_epoch=run.best_epoch,
                        val_loss=run.best_loss,
                    )
                )
                keras.utils.clear_session()
            review.write(self.folder / REVIEW, predictions, reader)
        folders = {
            name: {getattr(case, kind).parent for case in pooled.cases}
            for name, kind in (("images_dir", "image"), ("masks_dir", "mask"))
        }
        pooled.folders = {
            name: str(found.pop()) if len(found) == 1 else None for name, found in folders.items()
        } | {"predictions_dir": PREDICTIONS}
        return pooled, rows


def _splits_of(fold: Fold) -> Splits:
    return Splits({"train": fold.train, "valid": fold.valid})


def _refuse_other_seed(earlier: int | None, seed: int) -> None:
    if earlier not in (None, seed):
        raise ConfigError(
            f"The cross-validation was started with the seed {earlier}, not {seed}.",
            "Set train.seed to {earlier}, or start without --resume (the old results are moved "
            "aside).",
            "[train] seed",
        )


def _refuse_shared_outputs(train: TrainConfig, generator: GeneratorConfig, folder: Path) -> None:
    """An absolute output folder would be that of all folds, each of which moves it aside."""
    outputs = {
        "[train] model_dir": train.model_dir,
        "[train] eval_dir": train.eval_dir,
        "[train] epoch_change_infer_dir": train.epoch_change_infer_dir,
        "[train] epoch_change_tiled_infer_dir": train.epoch_change_tiled_infer_dir,
        "[generator] generated_images_dir": generator.generated_images_dir,
        "[generator] generated_masks_dir": generator.generated_masks_dir,
    }
    for key, path in outputs.items():
        if path is not None and not path.is_relative_to(folder):
            raise ConfigError(
                f"The folder {path} would be shared by all folds.",
                "Give it relative to [train] run_dir, without '..'.",
                key,
            )


def _refuse_snapshots(count: int) -> None:
    """An ensemble of ensembles would take very long to predict with."""
    if count > 1:
        raise ConfigError(
            f"Each fold would itself be an ensemble of {count} snapshots.",
            "The folds are an ensemble already: --set train.snapshots=1.",
            "[train] snapshots",
        )
