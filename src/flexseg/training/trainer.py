"""Training from a config: data, network, callbacks, Keras `fit`, and all files of a run."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from flexseg import backend
from flexseg.batches.batch_dataset import BatchDataset
from flexseg.batches.batch_plan import Augment
from flexseg.config.findings import amount
from flexseg.config.legacy_keys import RESIZES_SO
from flexseg.config.load import LoadedConfig
from flexseg.dataset.acquisition import acquisition_of
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.splits import Splits
from flexseg.errors import Interrupted, ResourceError
from flexseg.evaluation.review.reviewed_cases import FOLDER as REVIEW
from flexseg.inference.engines.onnx_export import leave_onnx
from flexseg.inference.ensemble import refuse_as_weights
from flexseg.inference.model_files import ENSEMBLE, read_members
from flexseg.model_file.onnx_file import onnx_file
from flexseg.models.inspection import inspect_model
from flexseg.models.layers import standardized_deviations
from flexseg.models.package import ModelPackage
from flexseg.one_writer import exclusive
from flexseg.outputs import make_folder, set_aside, try_outputs, whole
from flexseg.own_results import clear
from flexseg.runs.given import HISTORY
from flexseg.runs.manifest import Manifest
from flexseg.runs.tracking import Tracker
from flexseg.training import checkpoint
from flexseg.training.augmenting import WritingAugmenter, augmenting
from flexseg.training.batch_size import BatchSize, choose
from flexseg.training.callbacks.checkpointer import Checkpointer, Remembered
from flexseg.training.callbacks.clock import Clock
from flexseg.training.callbacks.epoch_change import epoch_change
from flexseg.training.callbacks.guards import NanGuard, StopFile, warn_of_standstill
from flexseg.training.callbacks.plateau import plateau_callbacks
from flexseg.training.callbacks.progress import Output, ProgressLine
from flexseg.training.callbacks.recorder import SAMPLES, BestModel, Recorder, SampleLog
from flexseg.training.callbacks.snapshots import Snapshots, write_snapshots
from flexseg.training.callbacks.step_values import EpochSetter, StepCallbacks
from flexseg.training.callbacks.tensorboard import tensorboard_callbacks
from flexseg.training.case_dice import owners_of
from flexseg.training.compiling import compile_model
from flexseg.training.distributed.common_end import Agreement
from flexseg.training.distributed.sharing import Sharing, cut_padding
from flexseg.training.duration import Schedule, averaging, clock_of, is_over
from flexseg.training.inputs import InputPipeline
from flexseg.training.job import TrainingJob
from flexseg.training.memory import explained, out_of_memory, release
from flexseg.training.needs import DiskNeeds, needs_of
from flexseg.training.resuming import as_begun, progress_of
from flexseg.training.signature import BATCH_SIZE, signature_of
from flexseg.training.supervision import supervised
from flexseg.training.warm_start import TABLE as START_TABLE
from flexseg.training.warm_start import WarmStart, seen_by_start, warm_start

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    Attributes
    ----------
    folder : where all its files are.
    best_epoch : the epoch whose weights were kept, from 0, see `rank`.
    best_loss : its val_loss (loss where nothing validates).
    steps : of the optimizer, in all epochs.
    """

    folder: Path
    weights: Path
    history: dict[str, list[float]]
    best_epoch: int
    best_loss: float
    steps: int


class Training:
    """One training, from its config to its files.

    Parameters
    ----------
    console : where it tells how it goes; None: the log.
    splits : the cases to train on; without it those that the config names.
    started : `time.monotonic()` of when the time of `[train] minutes` begins; without it now.
    sharing : with the other processes of the training; without it there are none.

    Attributes
    ----------
    callbacks : further ones, which see an epoch's values after all others but the checkpoint.
    onnx : leave the network in ONNX too, see `leave_onnx`.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        console: Console | None = None,
        splits: Splits | None = None,
        started: float | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        self.sharing = sharing or Sharing.of_one_process(loaded.experiment.train.batch_size)
        loaded = self.sharing.own(loaded)
        train = loaded.experiment.train
        refuse_as_weights(train)
        self.job = TrainingJob.from_config(loaded)
        self._resized_by_class = RESIZES_SO in loaded.source("dataset", "resize_interpolation")
        self.output = Output(console)
        self.folder = train.run_dir
        self.checkpoint_file = train.model_dir / checkpoint.FILE_NAME
        self.manifest = Manifest.start(self.folder, loaded)
        self.tracker = Tracker(self.manifest, train.mlflow)
        self.started = time.monotonic() if started is None else started
        self.callbacks: list[keras.callbacks.Callback] = []
        self.onnx = True
        self._start: WarmStart | None = None
        find = partial(find_splits, loaded.experiment.data, only=("train", "valid"))
        self._splits: Callable[[], Splits] = find if splits is None else lambda: splits

    def run(self, *, resume: bool = False) -> TrainingResult:
        """Train, or go on with an interrupted training.

        Raises
        ------
        InUseError : another program writes to the folder.
        FlexsegError : anything that the user can act on; `Interrupted` after a signal.
        """
        try_outputs(self.job.files(), self.job.folders())
        with exclusive(*self.job.places()):
            with self.sharing.scope():
                result = self._run(resume=resume)
            if self.onnx and self.sharing.leads:
                ensemble = self.job.train.model_dir / ENSEMBLE
                averaged = self.job.train.snapshots > 1 and ensemble.is_file()
                files = read_members(ensemble) if averaged else [result.weights]
                leave_onnx(files, self.job.config_file.parent)
            return result

    def _run(self, *, resume: bool) -> TrainingResult:
        if resume:
            self.sharing.pass_on([self.checkpoint_file, self.job.weights_file, self.manifest.path])
        if resume and self._resized_by_class:
            self.job = as_begun(self.job, self.checkpoint_file)
        job, train = self.job, self.job.train
        earlier = Manifest.find(self.folder) if resume else None
        backend.keep_freed_memory()
        if ":" not in job.model.model:
            needs_of(job.model, train, job.dataset).require_memory()
        precision = backend.prepare(train.precision, train.seed, train.deterministic)
        splits = self._splits()
        job.check(splits)
        signature = signature_of(job, splits.cases["train"], precision)
        self.sharing.require_same("The training", signature)
        progress = progress_of(
            signature,
            self.checkpoint_file,
            resume=resume,
            begun=earlier is not None,
        )
        if earlier is not None:
            self.manifest.continue_from(earlier)
        if is_over(train, progress):
            return self._finished(progress)
        clock = clock_of(train, self.started, progress)
        package = job.package(splits)
        fresh = progress.epoch == 0 and progress.batch == 0
        if job.train.start_from is not None:
            package = self._started(package, job.train.start_from, fresh=fresh)
        elif fresh:
            package.pretrain()
        augment = job.augmentation.augmenter(train.seed, job.size)
        network = augmenting(supervised(package.model, job.model, train.deep_supervision), augment)
        case_dice = job.case_dice(splits)
        compile_model(
            network,
            job.model,
            train.ema,
            ignoring=job.ignoring,
            case_dice=case_dice,
        )
        if job.model.show_summary:
            package.model.summary(print_fn=self.output.say)
        needs = DiskNeeds.of(network, job.model, train)
        needs.require([train.model_dir], train.best_model_file, resumed=not fresh)
        self._prepare_folders(augment, fresh=fresh)
        if self._start is not None:
            self._start.write(self.folder)
        try:
            with self.manifest.failures_noted():
                self.manifest.add_data(splits.cases, [*job.findings, *splits.findings])
                self.manifest.write(
                    versions=backend.versions(),
                    precision=precision,
                    seed=train.seed,
                    parameters=package.model.count_params(),
                    resumed_at={"epoch": progress.epoch, "batch": progress.batch},
                )
                self.output.say(
                    f"Training {job.model.model} ({package.model.count_params():,} parameters, "
                    f"{precision}, {keras.backend.backend()}) on "
                    f"{amount(len(splits.cases['train']), 'case')}, validation on "
                    f"{len(splits.cases.get('valid', ()))}."
                )
                inputs = InputPipeline(
                    splits.cases,
                    job.reader,
                    train,
                    job.dataset,
                    augment,
                    drawn=job.model.generator,
                    share=self.sharing.share,
                )
                shown = [case for part in splits.cases.values() for case in part]
                package = replace(
                    package,
                    home=inputs.home_images() if self.sharing.leads else None,
                    acquisition=acquisition_of(shown),
                    least_contrast=inputs.least_contrast(standardized_deviations(package.model)),
                )
                if case_dice is not None:
                    samples = inputs.samples["valid"].cases
                    case_dice.owners = owners_of(samples, volumes=job.volumes)
                return self._train(package, network, inputs, progress, clock)
        finally:
            self.tracker.finish()

    def _started(self, package: ModelPackage, path: Path, *, fresh: bool) -> ModelPackage:
        """With the weights of an earlier network, which those of a checkpoint will replace."""
        if not fresh:
            seen = seen_by_start(path, self.job.weights_file)
            return replace(package, seen=package.seen | seen)
        self._start = warm_start(package, path, self.job.config_file.parent)
        self._start.tell(self.output.say)
        self.manifest.origin = self._start.origin
        return self._start.package

    def _about(self) -> dict[str, object]:
        """What a package says of how it came to be."""
        origin = self.manifest.origin
        start = {} if origin is None else {"start_from": origin.model_dump(mode="json")}
        return {"versions": backend.versions(), **start}

    def _train(
        self,
        package: ModelPackage,
        network: keras.Model,
        inputs: InputPipeline,
        progress: checkpoint.Progress,
        clock: Clock,
    ) -> TrainingResult:
        try:
            if progress.epoch or progress.batch:
                checkpoint.resume(self.checkpoint_file, network, progress)
                self.output.say(
                    f"Resuming at epoch {progress.epoch + 1}, batch {progress.batch + 1}."
                )
            images = self._images_per_step(package, network, inputs, progress)
            run = self._fit_within_memory(package, network, inputs, progress, images, clock)
            self._average_snapshots()
            with suppress(ResourceError):  # where no room is left for it, it stays as it is
                checkpoint.shorten(self.checkpoint_file, self.job.weights_file)
        except Interrupted:
            raise
        except Exception as error:
            raise explained(error, inputs.error, self.job.train.batch_size) from error
        finally:
            inputs.close()
        return run

    def _images_per_step(
        self,
        package: ModelPackage,
        network: keras.Model,
        inputs: InputPipeline,
        progress: checkpoint.Progress,
    ) -> BatchSize:
        """As the config says, as before an interruption, or found out for "auto"."""
        wanted, known = self.job.train.batch_size, progress.signature[BATCH_SIZE]
        if wanted != "auto":
            images = BatchSize(wanted, "as configured")
        elif known != "auto":
            images = BatchSize(known, "as before the interruption", automatic=True)
            images.halved = self.manifest.batch_size.halved if self.manifest.batch_size else []
        else:
            # What trial steps change, and what a training that runs out of memory goes back to.
            checkpoint.save(self.checkpoint_file, network, progress)
            images = choose(
                inspect_model(package.model),
                len(inputs.stores["train"]),
                drawn=inputs.drawn,
                fits=lambda size: self._fits(network, inputs, size),
                devices=self.sharing.devices,
            )
            images.size = self.sharing.agreed(images.size)
            self.output.say(f"Batches of {images.size}: {images.reason}.")
        if self.sharing.devices > 1:
            self.sharing.require_equal_parts(inputs.images_of_batch(images.size))
            self.output.say(self.sharing.sentence(images.size))
        progress.signature[BATCH_SIZE] = images.size
        self.manifest.write(batch_size=images.as_dict())
        return images

    def _fits(self, network: keras.Model, inputs: InputPipeline, size: int) -> bool:
        """Whether memory suffices for a step of `size` images; the network stays as it was."""
        x, y = inputs.sample(size)
        try:
            network.train_on_batch(x, y)
            enough = True
        except Exception as error:
            if not out_of_memory(error):
                raise
            enough = False
        release()
        checkpoint.restore(self.checkpoint_file, network, ("model", "optimizer"))
        network.reset_metrics()
        return enough

    def _fit_within_memory(
        self,
        package: ModelPackage,
        network: keras.Model,
        inputs: InputPipeline,
        progress: checkpoint.Progress,
        images: BatchSize,
        clock: Clock,
    ) -> TrainingResult:
        """Train; where the size of batches is automatic, halve it whenever memory runs out."""
        while True:
            try:
                return self._fit(package, network, inputs.batches_of(images.size), progress, clock)
            except Exception as error:
                smaller = images.automatic and images.size > self.sharing.devices
                if not (smaller and self.sharing.processes == 1 and out_of_memory(error)):
                    raise
            release()
            before, progress = images.size, checkpoint.read_progress(self.checkpoint_file)
            images.halve(progress.epoch, progress.batch)
            logger.warning(
                "There was not enough memory for batches of %d: training continues with batches "
                "of %d from its last saved state, epoch %d after batch %d. The learning rate "
                "stays as it is.",
                before,
                images.size,
                progress.epoch + 1,
                progress.batch,
            )
            if inputs.steps is None:
                progress.batch = progress.batch * before // images.size
            progress.signature[BATCH_SIZE] = images.size
            checkpoint.restore(self.checkpoint_file, network, ("model", "optimizer"))
            self.manifest.write(batch_size=images.as_dict())

    def _finished(self, progress: checkpoint.Progress) -> TrainingResult:
        self.output.say(
            f"This training is finished ({amount(progress.epoch, 'epoch')}). To continue it, "
            "raise train.epochs (or train.minutes or train.patience, if one of these has ended "
            "it)."
        )
        best = progress.callbacks["best"]
        epoch, loss = best["best_epoch"], best["best"]
        # It may have been interrupted in its very last validation.
        self.manifest.amend(**self._outcome(progress, epoch, loss))
        if not (self.job.train.model_dir / ENSEMBLE).exists():
            self._average_snapshots()
        steps = int(sum(times["batches"] for times in progress.times))
        return self._result(progress, epoch, loss, steps)

    def _average_snapshots(self) -> None:
        """Write the ensemble of a training with `[train] snapshots`."""
        train = self.job.train
        if train.snapshots > 1:
            ensemble = write_snapshots(train.model_dir, train.snapshots)
            if ensemble is not None:
                self.manifest.amend(ensemble=str(ensemble))

    def _outcome(self, progress: checkpoint.Progress, epoch: int, loss: float) -> dict[str, Any]:
        """What the manifest says of a finished training."""
        return {
            "status": "finished",
            "epochs": progress.epoch,
            "best": {"epoch": epoch, "loss": loss},
            "seconds": round(progress.seconds, 1),
            "weights": str(self.job.weights_file),
        }

    def _result(
        self, progress: checkpoint.Progress, epoch: int, loss: float, steps: int
    ) -> TrainingResult:
        history = progress.history
        return TrainingResult(self.folder, self.job.weights_file, history, epoch, loss, steps)

    def _prepare_folders(self, augment: Augment | None, *, fresh: bool) -> None:
        train = self.job.train
        folders = [train.model_dir, *(folder for _, folder in self.job.folders())]
        make_folder(self.folder)
        if fresh:
            names = (
                HISTORY,
                SAMPLES,
                START_TABLE,
                REVIEW,
                self.manifest.path.name,
            )
            for folder in folders:
                written = [path.name for _, path in self.job.files() if path.parent == folder]
                clear(folder, also=written)
            weights = self.job.weights_file
            for path in (weights, onnx_file(weights), *(self.folder / name for name in names)):
                set_aside(path)
        for path in (*folders, self.job.weights_file.parent):
            make_folder(path)
        if fresh and isinstance(augment, WritingAugmenter):
            augment.writer.prepare()
        config = self.job.config_file
        if config.parent != train.model_dir and config.is_file():
            with whole(train.model_dir / config.name) as part:
                shutil.copyfile(config, part)

    def _fit(
        self,
        package: ModelPackage,
        model: keras.Model,
        datasets: list[BatchDataset],
        progress: checkpoint.Progress,
        clock: Clock,
    ) -> TrainingResult:
        train, batches, sharing = self.job.train, datasets[0], self.sharing
        validation = datasets[1] if len(datasets) > 1 else None
        if validation is not None:
            cut_padding(model, sharing.share, validation.plan)

        def save(file: Path, about: dict[str, Any]) -> None:
            if sharing.leads:
                package.save(file, about | self._about())

        best = BestModel(lambda logs: save(self.job.weights_file, {"training": logs}))
        guard = NanGuard(batches)
        schedule = Schedule(train, self.job.model.learning_rate, batches, validation, clock)
        line = ProgressLine(self.output, batches, schedule, progress)
        recorder = Recorder(progress, train.eval_dir, self.folder / HISTORY, self.job.csv_metrics())
        snapshots = Snapshots(
            train.model_dir,
            train.snapshots,
            schedule.done,
            save,
            averaged=train.ema > 0,
        )
        remember: Remembered = {"best": (best, ("best", "best_dice", "best_epoch"))}
        plateau = plateau_callbacks(train, "val_loss" if validation else "loss", remember)
        checkpointer = Checkpointer(
            self.checkpoint_file,
            batches,
            progress,
            guard,
            remember,
            train.checkpoint_minutes,
            clock.elapsed,
            saves=sharing.leads,
        )
        watched = epoch_change(self.job.watched, package, self.job.watched_batch)
        callbacks = [
            EpochSetter(batches, progress.epoch, progress.batch),
            *schedule.callbacks(remember),
            *([snapshots] if train.snapshots > 1 else []),
            *([guard] if sharing.leads else []),
            line,
            *averaging(train.ema, [best, *watched]),
            *plateau,
            recorder,
            *([SampleLog(batches, self.folder)] if self.job.model.generator else []),
            *tensorboard_callbacks(train),
            *self.tracker.callbacks(),
            StopFile([Path.cwd(), self.folder]),
            *self.callbacks,
            *self._agreement(schedule, checkpointer),
            checkpointer,
        ]
        calls = StepCallbacks(callbacks, add_history=True, model=model, epochs=schedule.epochs)
        with checkpointer, line:
            # An epoch that is resumed in its middle is shorter, so it has a `fit` of its own.
            middle = [progress.epoch + 1] if progress.batch else []
            for last in (*middle, schedule.epochs):
                if progress.epoch >= schedule.epochs or model.stop_training:
                    break
                batches.set_epoch(progress.epoch, progress.batch)
                model.fit(
                    batches.for_fit(),
                    validation_data=validation,
                    initial_epoch=progress.epoch,
                    epochs=last,
                    shuffle=False,
                    verbose=0,
                    callbacks=calls,
                )
        if train.snapshots > 1:
            snapshots.finish()
        warn_of_standstill(progress.history)
        self.manifest.write(**self._outcome(progress, best.best_epoch, best.best))
        steps = int(model.optimizer.iterations)
        return self._result(progress, best.best_epoch, best.best, steps)

    def _agreement(self, schedule: Schedule, checkpointer: Checkpointer) -> list[Agreement]:
        """What lets several processes end together; none where there is one."""
        if self.sharing.processes == 1:
            return []
        agreement = Agreement(self.sharing, schedule.limit, checkpointer)
        schedule.agreed = lambda: agreement.share
        return [agreement]
