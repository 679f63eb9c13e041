"""Training from a config: data, network, callbacks, Keras `fit`, and all files of a run."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from flexseg import backend
from flexseg.augment.policy import policy_of, refuse_unscaled
from flexseg.config.augmentation import AUGMENTOR_SECTIONS
from flexseg.config.load import LoadedConfig
from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.data.batches import Augment, BatchDataset, BatchPlan
from flexseg.data.labels import LabelMap
from flexseg.data.pairing import Case
from flexseg.data.preprocess import Preprocessing
from flexseg.data.splits import SplitName, Splits, find_splits
from flexseg.data.store import CaseReader, Store, open_store, record_bytes
from flexseg.errors import ConfigError, DataError, FlexsegError, Interrupted, ResourceError
from flexseg.inference.folder import images_of
from flexseg.inference.predictor import Predictor
from flexseg.losses import LabelLoss, get_loss, get_metric
from flexseg.models.package import ModelPackage
from flexseg.outputs import make_folder, set_aside
from flexseg.training import checkpoint
from flexseg.training.augmenting import WritingAugmenter, augmenter_of, augmenting
from flexseg.training.callbacks import (
    BestModel,
    Checkpointer,
    EpochChangeInference,
    EpochSetter,
    NanGuard,
    ProgressLine,
    Recorder,
    SampleLog,
    StopFile,
)
from flexseg.training.run import RunManifest, data_fingerprint
from flexseg.training.supervision import DeeplySupervised, supervised
from flexseg.training.tracking import Tracker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes
    ----------
    folder : where all its files are.
    best_epoch : epoch of the lowest val_loss, from 0.
    """

    folder: Path
    weights: Path
    history: dict[str, list[float]]
    best_epoch: int
    best_loss: float


def compile_model(model: keras.Model, config: ModelConfig) -> None:
    """Give a network its optimizer, loss and metrics by name."""
    optimizers = {
        "Adam": keras.optimizers.Adam,
        "AdamW": keras.optimizers.AdamW,
        "SGD": keras.optimizers.SGD,
    }
    options: dict[str, Any] = {"momentum": 0.99, "nesterov": True}
    optimizer = optimizers[config.optimizer](
        learning_rate=config.learning_rate,
        clipvalue=config.clipvalue,
        **(options if config.optimizer == "SGD" else {}),
    )
    channels = config.num_classes
    model.compile(
        optimizer=optimizer,
        loss=LabelLoss(get_loss(config.loss, channels), config.loss),
        metrics=[get_metric(name, channels) for name in config.metrics],
        jit_compile=backend.compiles_ahead(),
    )
    # Their variables must exist before a checkpoint can be restored into them (with float16 the
    # optimizer is not the one above but Keras' loss scaling around it).
    model.optimizer.build(model.trainable_variables)
    _build_scores(model)


def _build_scores(model: keras.Model) -> None:
    """Let loss and metrics make their variables, which they do with the first batch."""
    outputs = [keras.ops.zeros((1, *output.shape[1:])) for output in model.outputs]
    predicted = outputs if isinstance(model, DeeplySupervised) else outputs[0]
    image = keras.ops.zeros((1, *model.input_shape[1:]))
    labels = keras.ops.zeros((1, *model.input_shape[1:3]), "uint8")
    model.compute_loss(image, labels, predicted)
    model.compute_metrics(image, labels, predicted)
    model.reset_metrics()


def checked_splits(experiment: Experiment, given: Splits | None = None) -> Splits:
    """The splits for training. Raises DataError on the first error that was found."""
    splits = given or find_splits(experiment, only=("train", "valid"))
    splits.raise_errors()
    refuse_unscaled(policy_of(experiment), experiment, splits.need("train"))
    splits.log()
    return splits


def require_tensorboard() -> None:
    """Raise ConfigError if TensorBoard logs cannot be written."""
    missing = [n for n in ("tensorboard", "tensorflow") if importlib.util.find_spec(n) is None]
    if missing:
        raise ConfigError(
            f"TensorBoard logs were asked for, but {' and '.join(missing)} is not installed.",
            "pip install 'flexseg[tensorboard]', or set train.tensorboard to false.",
            "[train] tensorboard",
        )


class Training:
    """One training, from its config to its files.

    Parameters
    ----------
    splits : the cases to train on; without it those that the config names.
    """

    def __init__(
        self, loaded: LoadedConfig, console: Console, splits: Splits | None = None
    ) -> None:
        self.loaded = loaded
        self.experiment = loaded.experiment
        self.console = console
        train = self.experiment.train
        self.folder = train.run_dir
        self.checkpoint_file = train.model_dir / checkpoint.FILE_NAME
        self.weights_file = train.model_dir / train.best_model_file
        self.manifest = RunManifest(self.folder, loaded)
        self.tracker = Tracker(loaded, self.manifest)
        self.splits = splits

    def run(self, *, resume: bool = False) -> Run:
        """Train, or go on with an interrupted training.

        Raises
        ------
        FlexsegError : anything that the user can act on; `Interrupted` after a signal.
        """
        model_config, train = self.experiment.model, self.experiment.train
        precision = backend.prepare(train.precision, train.seed, train.deterministic)
        splits = checked_splits(self.experiment, self.splits)
        progress = self._progress(splits.cases["train"], precision, resume=resume)
        if resume:
            self.manifest.keep_start()
        if self._is_finished(progress):
            return self._finished(progress)
        package = ModelPackage.create(self.experiment, self.loaded.path.parent)
        fresh = progress.epoch == 0 and progress.batch == 0
        if fresh:
            package.pretrain()
        augment = augmenter_of(self.experiment)
        network = augmenting(supervised(package.model, self.experiment), augment)
        compile_model(network, model_config)
        if model_config.show_summary:
            package.model.summary(print_fn=self.console.print)
        self._prepare_folders(augment, fresh=fresh)
        self.manifest.add_data(splits.cases, [*self.loaded.findings, *splits.findings])
        self.manifest.write(
            versions=backend.versions(),
            precision=precision,
            seed=train.seed,
            parameters=package.model.count_params(),
            resumed_at={"epoch": progress.epoch, "batch": progress.batch},
        )
        self.console.print(
            f"Training {model_config.model} ({package.model.count_params():,} parameters, "
            f"{precision}, {keras.backend.backend()}) on {len(splits.cases['train'])} cases, "
            f"validation on {len(splits.cases.get('valid', ()))}.",
            highlight=False,
        )
        datasets = self._datasets(package, splits, augment)
        try:
            run = self._fit(package, network, datasets, progress)
        except Interrupted:
            self.manifest.write(status="interrupted")
            raise
        except Exception as error:
            cause = self._readable(error, datasets)
            self.manifest.write(status="failed", error=str(cause))
            raise cause from error
        finally:
            self.tracker.finish()
            for dataset in datasets:
                dataset.close()
                dataset.store.close()
        return run

    def _signature(self, cases: tuple[Case, ...], precision: str) -> dict[str, Any]:
        """What must not change between an interruption and its resumption."""
        model = self.experiment.model.model_dump(mode="json", exclude={"show_summary"})
        train = self.experiment.train
        preprocessing = Preprocessing.from_experiment(self.experiment).as_dict()
        return {
            **{f"model.{key}": value for key, value in model.items()},
            "train.batch_size": train.batch_size,
            "train.seed": train.seed,
            "train.shuffle": train.shuffle,
            "train.steps_per_epoch": train.steps_per_epoch,
            "train.deep_supervision": train.deep_supervision,
            **self._augmentation(),
            **{f"preprocessing.{key}": value for key, value in preprocessing.items()},
            "mask.classes": LabelMap.from_experiment(self.experiment).as_dict(),
            "mask.unknown_colors": self.experiment.mask.unknown_colors,
            "precision": precision,
            "backend": keras.backend.backend(),
            "training data": data_fingerprint(cases),
        }

    def _augmentation(self) -> dict[str, Any]:
        """What says how samples are augmented; where it is done may change."""
        e = self.experiment
        names = ("augmentation",) if e.augmentation.enabled else AUGMENTOR_SECTIONS
        sections = {} if policy_of(e) is None else {n: getattr(e, n) for n in names}
        return {
            f"{name}.{key}": value
            for name, section in sections.items()
            for key, value in section.model_dump(mode="json", exclude={"augment_on"}).items()
        }

    def _progress(
        self, cases: tuple[Case, ...], precision: str, *, resume: bool
    ) -> checkpoint.Progress:
        # Through JSON and back, as the stored one went: tuples become lists.
        signature = json.loads(json.dumps(self._signature(cases, precision)))
        if not resume:
            return checkpoint.Progress(signature=signature)
        if not self.checkpoint_file.exists():
            if not self.manifest.path.exists():
                checkpoint.read_progress(self.checkpoint_file)  # raises: nothing to resume
            logger.warning("The run was interrupted before its first checkpoint; it starts anew.")
            return checkpoint.Progress(signature=signature)
        progress = checkpoint.read_progress(self.checkpoint_file)
        keys = signature.keys() | progress.signature.keys()
        changed = sorted(k for k in keys if signature.get(k) != progress.signature.get(k))
        if changed:
            raise ConfigError(
                f"The interrupted run had other values of: {', '.join(changed)}.",
                "Restore them, or train without --resume (the old results move aside).",
                str(self.checkpoint_file),
            )
        return progress

    def _is_finished(self, progress: checkpoint.Progress) -> bool:
        """All epochs are done, or early stopping has ended the training."""
        train = self.experiment.train
        waited = progress.callbacks.get("stopper", {}).get("wait", 0)
        return progress.epoch >= train.epochs or 0 < train.patience <= waited

    def _finished(self, progress: checkpoint.Progress) -> Run:
        self.console.print(
            f"This training is finished ({progress.epoch} epochs); raise train.epochs (or "
            "train.patience, if it stopped early) to go on."
        )
        best = progress.callbacks["best"]
        return Run(
            self.folder, self.weights_file, progress.history, best["best_epoch"], best["best"]
        )

    def _prepare_folders(self, augment: Augment | None, *, fresh: bool) -> None:
        train = self.experiment.train
        folders = [train.model_dir, train.eval_dir]
        if train.epoch_change_infer:
            folders.append(train.epoch_change_infer_dir)
        make_folder(self.folder)
        if fresh:
            names = ("history.json", "generate_images.txt", self.manifest.path.name)
            for path in (*folders, *(self.folder / name for name in names)):
                set_aside(path)
        for path in folders:
            make_folder(path)
        if fresh and isinstance(augment, WritingAugmenter):
            augment.writer.prepare()
        if self.loaded.path.parent != train.model_dir:
            shutil.copyfile(self.loaded.path, train.model_dir / self.loaded.path.name)

    def _datasets(
        self, package: ModelPackage, splits: Splits, augment: Augment | None
    ) -> list[BatchDataset]:
        """The training batches and, if there are any, those of the validation: never augmented."""
        e = self.experiment
        reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
        budget = e.dataset.cache_gb * 2**30
        steps = e.train.steps_per_epoch if e.model.generator else None
        result = []
        names: tuple[SplitName, ...] = ("train", "valid")
        for split in names:
            cases = splits.cases.get(split, ())
            if not cases:
                continue
            store: Store = open_store(
                cases,
                reader,
                cache=e.dataset.cache,
                cache_bytes=budget,
                cache_file=e.train.model_dir / f"cache_{split}.bin",
                shared=e.dataset.worker_type == "process" and e.dataset.workers > 0,
            )
            if store.memory is not None:
                budget -= len(cases) * record_bytes(reader.preprocessing, store.dtype)
            training = split == "train"
            plan = BatchPlan(
                len(cases),
                e.train.batch_size,
                e.train.seed,
                shuffle=e.train.shuffle and training,
                steps=steps if training else None,
                fill=training,
            )
            result.append(
                BatchDataset(
                    store,
                    plan,
                    augment=augment if training else None,
                    workers=e.dataset.workers,
                    worker_type=e.dataset.worker_type,
                )
            )
        return result

    def _fit(
        self,
        package: ModelPackage,
        model: keras.Model,
        datasets: list[BatchDataset],
        progress: checkpoint.Progress,
    ) -> Run:
        train, batches = self.experiment.train, datasets[0]
        validation = datasets[1] if len(datasets) > 1 else None
        if progress.epoch or progress.batch:
            checkpoint.restore(self.checkpoint_file, model, ("model", "optimizer"))
            self.console.print(
                f"Resuming at epoch {progress.epoch + 1}, batch {progress.batch + 1}."
            )
        best = BestModel(
            lambda logs: package.save(
                self.weights_file, {"training": logs, "versions": backend.versions()}
            )
        )
        line = ProgressLine(self.console, batches, train.epochs, progress.times)
        recorder = Recorder(
            progress, train.eval_dir, self.folder / "history.json", self._csv_metrics()
        )
        remember: dict[str, tuple[keras.callbacks.Callback, tuple[str, ...]]] = {
            "best": (best, ("best", "best_epoch"))
        }
        plateau = self._plateau_callbacks(remember, "val_loss" if validation else "loss")
        checkpointer = Checkpointer(
            self.checkpoint_file, batches, progress, remember, train.checkpoint_minutes
        )
        callbacks = [
            EpochSetter(batches, progress.epoch, progress.batch),
            NanGuard(batches),
            line,
            best,
            *plateau,
            recorder,
            *([SampleLog(batches, self.folder)] if self.experiment.model.generator else []),
            *self._epoch_change(package),
            *self._tensorboard(),
            *self.tracker.callbacks(),
            StopFile([Path.cwd(), self.folder]),
            checkpointer,
        ]
        with checkpointer:
            # An epoch that is resumed in its middle is shorter, so it has a `fit` of its own.
            middle = [progress.epoch + 1] if progress.batch else []
            for last in (*middle, train.epochs):
                if progress.epoch >= train.epochs or model.stop_training:
                    break
                batches.set_epoch(progress.epoch, progress.batch)
                model.fit(
                    batches.feed(),
                    validation_data=validation,
                    initial_epoch=progress.epoch,
                    epochs=last,
                    shuffle=False,
                    verbose=0,
                    callbacks=callbacks,
                )
        self.manifest.write(
            status="finished",
            epochs=progress.epoch,
            best={"epoch": best.best_epoch, "loss": best.best},
            seconds=round(progress.seconds, 1),
            weights=str(self.weights_file),
        )
        return Run(self.folder, self.weights_file, progress.history, best.best_epoch, best.best)

    def _csv_metrics(self) -> list[str]:
        given = self.experiment.train.metrics[:2]
        names = self.experiment.model.metrics
        if len(given) == 2:
            return given
        return [names[0], f"val_{names[0]}"] if names else ["loss", "val_loss"]

    def _plateau_callbacks(
        self,
        remember: dict[str, tuple[keras.callbacks.Callback, tuple[str, ...]]],
        monitor: str,
    ) -> list[keras.callbacks.Callback]:
        train = self.experiment.train
        callbacks: list[keras.callbacks.Callback] = []
        if train.learning_rate_reducer:
            reducer = keras.callbacks.ReduceLROnPlateau(
                monitor=monitor,
                factor=train.reducer_factor,
                patience=train.reducer_patience,
                min_lr=0.0,
            )
            remember["reducer"] = (reducer, ("wait", "best", "cooldown_counter"))
            callbacks.append(reducer)
        if train.patience > 0:
            stopper = keras.callbacks.EarlyStopping(monitor=monitor, patience=train.patience)
            remember["stopper"] = (stopper, ("wait", "best", "best_epoch"))
            callbacks.append(stopper)
        return callbacks

    def _epoch_change(self, package: ModelPackage) -> list[keras.callbacks.Callback]:
        train, source = self.experiment.train, self.experiment.infer.images_dir
        if not train.epoch_change_infer or not train.num_infer_images:
            return []
        if source is None or not source.is_dir():
            logger.warning(
                "[infer] images_dir (%s) does not exist: no predictions at epoch changes.", source
            )
            return []
        try:
            images = images_of(source)[: train.num_infer_images]
        except DataError as error:
            logger.warning("No predictions at epoch changes: %s", error)
            return []
        predictor = Predictor(package, self.experiment.eval.batch_size)
        return [EpochChangeInference(predictor, images, train.epoch_change_infer_dir)]

    def _tensorboard(self) -> list[keras.callbacks.Callback]:
        if not self.experiment.train.tensorboard:
            return []
        require_tensorboard()
        return [keras.callbacks.TensorBoard(str(self.experiment.train.eval_dir / "tensorboard"))]

    def _readable(self, error: Exception, datasets: list[BatchDataset]) -> BaseException:
        """The cause of a failure, where the engine has wrapped or hidden it."""
        for dataset in datasets:
            if isinstance(dataset.error, FlexsegError):
                return dataset.error
        if isinstance(error, FlexsegError):
            return error
        name = type(error).__name__
        memory = ("ResourceExhausted", "OutOfMemory", "RESOURCE_EXHAUSTED", "out of memory")
        if isinstance(error, MemoryError) or any(m in f"{name} {error}" for m in memory):
            train = self.experiment.train
            return ResourceError(
                f"The memory does not suffice for batches of {train.batch_size}.",
                "Use a smaller train.batch_size, model size or base_filters.",
            )
        return error
