"""`flexseg.train` and `flexseg.Run`: a training, and what it has left in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from flexseg import backend
from flexseg.api.trained_model import refuse_foreign_code
from flexseg.config.load import LoadedConfig, load, resolve_outputs
from flexseg.config.network_options import with_options
from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError, DataError
from flexseg.storage.mirror import local_copy

if TYPE_CHECKING:
    import keras

    from flexseg.dataset.division.splits import SplitName, Splits
    from flexseg.evaluation.summary import EvaluationSummary
    from flexseg.runs.manifest import BestEpoch

T = TypeVar("T")


def train(
    config: str | Path | LoadedConfig | Experiment,
    overrides: Mapping[str, object] | None = None,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    resume: bool = False,
    splits: Splits | None = None,
    start_from: str | Path | None = None,
) -> Run:
    """Train the network of a config, as `flexseg train` does.

    How it goes is told to the logger `flexseg` (level INFO).

    Parameters
    ----------
    config : a config file (antillia syntax, or TOML if it is named *.toml), or its content; the
        paths of an `Experiment` are relative to the current folder.
    overrides : "section.key" -> value, for a config file; relative paths in them are relative to
        the current folder.
    callbacks : of Keras. They see the values of an epoch (loss, metrics, `val_` ones and `lr`) as
        numbers, those of a step as they are on the device.
    resume : go on with the interrupted training in the run's folder. Otherwise earlier results
        there move aside.
    splits : the cases to train on and to validate with; without it those that the config names.
    start_from : an earlier network whose weights this one begins with: a model package, or the
        folder or config of a run; in place of `[train] start_from`. Classes, channels and size may
        differ; what is taken is told.

    Raises
    ------
    ConfigError : the config cannot be read, or asks for what there is not; a callback is none.
    DataError : images or masks cannot be used, there is nothing to resume, or no network to start
        from.
    TrainingError : the loss is not finite.
    Interrupted : it was stopped by a signal, after its state was saved.

    Examples
    --------
    >>> import flexseg
    >>> run = flexseg.train("flexseg.toml", {"train.epochs": 2})      # doctest: +SKIP
    >>> run.best_epoch, run.best_loss                                 # doctest: +SKIP
    (1, 0.2134)
    """
    backend.select()
    from flexseg.training.trainer import Training

    _refuse_other_callbacks(callbacks)
    loaded = _loaded(config, overrides or {})
    if start_from is not None:
        loaded = _starting_from(loaded, local_copy(start_from))
    with backend.same_dtype_policy():
        training = Training(loaded, splits=splits)
        training.callbacks += callbacks
        result = training.run(resume=resume)
    run = Run(result.folder, loaded, trust=loaded.experiment.model.model)
    run._mlflow = loaded.experiment.train.mlflow
    return run


def _refuse_other_callbacks(callbacks: Sequence[object]) -> None:
    import keras

    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ConfigError(
                f"{callback!r} is not a Keras callback.",
                "Give instances of keras.callbacks.Callback.",
                "callbacks",
            )


class Run:
    """A training and the files that it has left in its folder.

    `flexseg.train` returns one; `Run.open` finds that of a folder.

    Attributes
    ----------
    folder : of the run.
    """

    def __init__(self, folder: Path, loaded: LoadedConfig, trust: str | None = None) -> None:
        from flexseg.runs.manifest import Manifest

        self.folder = folder
        self._loaded = loaded
        self._trust = trust
        # A folder that is opened may have come from elsewhere, and so would the address.
        self._mlflow = ""
        self._manifest = Manifest.read(folder)

    @classmethod
    def open(cls, folder: str | Path, trust: str | None = None) -> Run:
        """The run in a folder, which may have been moved since.

        Parameters
        ----------
        folder : of the run, or that of `flexseg auto` around it.
        trust : the `package.module:builder` of a network of one's own, which `model` and `evaluate`
            may then import.

        Raises
        ------
        DataError : there is no run, its manifest is damaged, or of another version of flexseg.
        """
        from flexseg.runs.trained import config_of_run

        loaded = config_of_run(local_copy(folder))
        folder = loaded.experiment.train.run_dir
        return cls(folder, loaded, trust)

    @property
    def status(self) -> str:
        """ "running", "finished", "interrupted" or "failed"."""
        return self._manifest.status

    @property
    def weights(self) -> Path:
        """The package of the best epoch; of a cross-validation the ensemble of its folds.

        Raises
        ------
        DataError : the training has not finished an epoch.
        """
        return self._manifest.model_dir / Path(self._finished(self._manifest.weights)).name

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept, from 0: of the highest val_dice, or lowest val_loss.

        Raises
        ------
        DataError : the training is not finished, or it is a cross-validation, which has several.
        """
        self._refuse_folds()
        return self._finished(self._best.epoch)

    @property
    def best_loss(self) -> float:
        """The validation loss of the best epoch; its loss where nothing validates.

        Raises
        ------
        DataError : the training is not finished, or it is a cross-validation, which has several.
        """
        self._refuse_folds()
        return self._finished(self._best.loss)

    @property
    def history(self) -> dict[str, list[float | None]]:
        """Loss, metric or learning rate by name -> value of each epoch, None where not finite.

        Raises
        ------
        DataError : the file is damaged.
        """
        from flexseg.runs.history import read_history

        return read_history(self.folder) or {}

    @cached_property
    def model(self) -> keras.Model:
        """The network with the weights of the best epoch.

        It takes prepared images [B, H, W, C] at its own size, and gives probabilities
        [B, H, W, classes] float32. `flexseg.Model.load(run.folder)` predicts files and arrays of
        any size. It is compiled with the loss, the metrics and a new optimizer of the config, and
        `run.model.save("x.keras")` writes a file that `keras.saving.load_model` reads in safe mode
        after `import flexseg.models`.

        Raises
        ------
        DataError : the training is not finished, it is a cross-validation, which has several, or
            the network is of code that `trust` does not name.
        """
        self._refuse_foreign_code()
        backend.select()
        from flexseg.models.package import ModelPackage
        from flexseg.training.compiling import compile_model

        self._refuse_folds()
        e, search = self._loaded.experiment, self._loaded.path.parent
        package = ModelPackage.load(self.weights, e, search)
        ignoring = package.labels.ignored is not None
        compile_model(package.model, package.config, ignoring=ignoring)
        return package.model

    def evaluate(self, split: SplitName | None = None) -> EvaluationSummary:
        """Score the model per case and class, as `flexseg evaluate` does.

        The files are written into the folder `evaluation` of the run, those of another split than
        the config's into `evaluation_<split>`; earlier ones move aside. MLflow is told only of runs
        that `flexseg.train` returned.

        Parameters
        ----------
        split : "train", "valid" or "test"; without it the config's ([model] evaluation).

        Returns
        -------
        Means over the cases with 95 % intervals; distances are in pixels, or in mm where the size
        of a pixel is known.

        Raises
        ------
        ConfigError : there is no such split.
        DataError : there are no weights, files are damaged, the model was trained on test cases, or
            the network is of code that `trust` does not name.
        """
        self._refuse_foreign_code()
        backend.select()
        from flexseg.dataset.division.splits import SPLITS
        from flexseg.evaluation.trained_images import evaluate
        from flexseg.runs.tracking import Tracker

        e = self._loaded.experiment
        default = e.model.evaluation
        split = split or default
        if split not in SPLITS:
            raise ConfigError(
                f"{split!r} is not a split.", f"Choose one of {', '.join(SPLITS)}.", "split"
            )
        model = e.model.model_copy(update={"evaluation": split})
        loaded = replace(self._loaded, experiment=e.model_copy(update={"model": model}))
        ending = "" if split == default else f"_{split}"
        folder = self.folder / f"evaluation{ending}"
        with backend.same_dtype_policy():
            summary = evaluate(loaded, folder, self.folder / f"evaluation{ending}.csv")
        Tracker(self._manifest, self._mlflow).evaluation(folder, summary.as_dict())
        return summary

    def report(self, path: str | Path | None = None) -> Path:
        """Write what is known of the run as one HTML file, and a JSON file for programs with it.

        Parameters
        ----------
        path : of the HTML file; without it `report.html` in the run's folder. Earlier ones move
            aside.

        Returns the HTML file.

        Raises
        ------
        ConfigError : files of the run have that name.
        """
        from flexseg.report.html import write_report
        from flexseg.report.sources import find_source

        html, _, _ = write_report(find_source(self.folder), Path(path) if path else None)
        return html

    def _refuse_foreign_code(self) -> None:
        refuse_foreign_code(self._loaded, self._trust, "flexseg.Run.open")

    def _refuse_folds(self) -> None:
        if self._manifest.crossval is not None:
            raise DataError(
                "A cross-validation has a network for each fold.",
                "Open the run of a fold, e.g. Run.open(run.folder / 'fold_0').",
                str(self.folder),
            )

    @property
    def _best(self) -> BestEpoch:
        from flexseg.runs.manifest import BestEpoch

        return self._manifest.best or BestEpoch()

    def _finished(self, value: T | None) -> T:
        if value is None:
            raise DataError(
                f"The run is not finished (its status is {self.status!r}).",
                "Finish it with flexseg.train(config, resume=True).",
                str(self.folder),
            )
        return value

    def __repr__(self) -> str:
        loss = "" if self._best.loss is None else f", best loss {self._best.loss:.4f}"
        network = self._loaded.experiment.model.model
        return f"Run({str(self.folder)!r}: {network}, {self.status}{loss})"


def _loaded(
    config: str | Path | LoadedConfig | Experiment, overrides: Mapping[str, object]
) -> LoadedConfig:
    """The config with its overrides.

    Raises
    ------
    ConfigError : it cannot be read, or overrides are given for one that was read already.
    """
    if isinstance(config, str | Path):
        texts = [f"{key}={_text(value)}" for key, value in overrides.items()]
        return load(Path(config), texts, run_code=True)
    if overrides:
        raise ConfigError(
            "Overrides apply to a config file that is still to be read.",
            "Give the path of the file, or change the values before.",
            ", ".join(overrides),
        )
    if isinstance(config, Experiment):
        here = Path.cwd()
        resolved = resolve_outputs(config, here)
        config = LoadedConfig(here / "experiment", resolved, (), {}, legacy=False)
    e = config.experiment
    model = with_options(e.model, config.path.parent)
    return replace(config, experiment=e.model_copy(update={"model": model}))


def _starting_from(loaded: LoadedConfig, network: Path) -> LoadedConfig:
    """The config with another `[train] start_from`."""
    e = loaded.experiment
    train = e.train.model_copy(update={"start_from": network})
    return replace(loaded, experiment=e.model_copy(update={"train": train}))


def _text(value: object) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return str(value) if isinstance(value, str | Path) else repr(value)
