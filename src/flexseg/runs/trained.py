"""What a path gives a command: the config to train, or the trained network and its config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flexseg.config.load import (
    LoadedConfig,
    load,
    relative_outputs,
    resolve_outputs,
    with_overrides,
)
from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError, DataError
from flexseg.inference.model_files import BEST, is_ensemble, model_file
from flexseg.runs.given import find_given
from flexseg.runs.manifest import FILE_NAME, Manifest, trained_own_network
from flexseg.storage.mirror import look
from flexseg.storage.urls import noted_path


def run_folder(path: Path) -> Path:
    """The folder of the run that a path means.

    Raises
    ------
    ConfigError : there is nothing at it, or something else.
    """
    given = find_given(path)
    if given.run is not None:
        return given.run
    if given.config is not None:
        return load(given.config).experiment.train.run_dir
    raise given.lacks("the folder of a run")


def config_file(path: Path) -> Path:
    """The file of the config that a path means; of a run that which it was trained with.

    Raises
    ------
    ConfigError : there is none.
    DataError : the manifest of the run is damaged.
    """
    given = find_given(path)
    if given.config is not None:
        return given.config
    if given.run is None or given.model is not None:
        raise given.lacks("a config")
    file = _file_of(Manifest.read(given.run))
    if not file.is_file():
        raise ConfigError(
            f"The config of this run is gone: there is no {file}.",
            "Give a config file instead of the folder.",
            str(path),
        )
    return file


def trained_config(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    strict: bool = False,
    run_code: bool = True,
    alone: bool = False,
) -> LoadedConfig:
    """The config with which a trained network is used.

    That of a config's file is the file's, which may say otherwise how to predict than it did for
    the training. Of a run it is what was trained.

    Parameters
    ----------
    path : see `find_given`.
    overrides, strict, run_code : see `load`.
    alone : a model suffices, as it describes itself; it has no data, and `LoadedConfig.path` is
        that of the model. Otherwise that of a run has the run's config.

    Raises
    ------
    ConfigError : there is no trained network at it, or the config cannot be read.
    DataError : the manifest of a run is damaged or of another version, or asks for code that its
        config does not name.
    """
    given = find_given(path)
    if given.config is not None:
        return load(given.config, overrides, strict=strict, run_code=run_code)
    if given.model is not None and alone:
        loaded = _config_of_model(given.model)
    elif given.run is not None:
        loaded = config_of_run(given.run)
        _refuse_unknown_code(loaded, given.run)
        if given.model is not None:
            loaded = _with_model(loaded, given.model)
    else:
        raise given.lacks("a config or the folder of a run")
    return with_overrides(loaded, overrides, strict=strict, run_code=run_code)


def config_of_run(folder: Path) -> LoadedConfig:
    """The config that a run was trained with, whose outputs are in the run's folder of today.

    Parameters
    ----------
    folder : of the run, or that of `flexseg auto` around it.

    Raises
    ------
    DataError : there is no manifest of a run, it is damaged, or of another version of flexseg.
    """
    folder = run_folder(folder)
    manifest = Manifest.read(folder)
    config = _file_of(manifest)
    experiment = relative_outputs(manifest.experiment())
    train = experiment.train.model_copy(update={"run_dir": manifest.folder})
    experiment = resolve_outputs(experiment.model_copy(update={"train": train}), folder)
    train = experiment.train.model_copy(update={"model_dir": manifest.model_dir})
    experiment = experiment.model_copy(update={"train": train})
    loaded = LoadedConfig(config, experiment, (), manifest.sources, legacy=False)
    file = model_file(loaded)
    if not file.is_file():
        # Of a cross-validation there is only the ensemble, and the manifest names it.
        file = manifest.model_file
    return _with_model(loaded, file)


def _with_model(loaded: LoadedConfig, file: Path) -> LoadedConfig:
    experiment = loaded.experiment
    changes = {"model_dir": file.parent, "best_model_file": file.name}
    train = experiment.train.model_copy(update=changes)
    return replace(
        loaded,
        experiment=experiment.model_copy(update={"train": train}),
        sources=loaded.sources | {"train.best_model_file": FILE_NAME},
    )


def _config_of_model(file: Path) -> LoadedConfig:
    """Of a model by itself: how to predict as by default, and no data."""
    experiment = resolve_outputs(Experiment(), file.parent)
    # Its folder is nobody's folder of models: only the file is named.
    train = experiment.train.model_copy(update={"best_model_file": str(file)})
    experiment = experiment.model_copy(update={"train": train})
    return LoadedConfig(file, experiment, (), {"train.best_model_file": str(file)}, legacy=False)


def _file_of(manifest: Manifest) -> Path:
    """The config of a run, also where its folder has moved together with it."""
    noted = noted_path(manifest.config_file)
    look(noted)
    near = (manifest.folder.parent / noted.name, manifest.folder / noted.name)
    return next((file for file in (noted, *near) if file.is_file()), near[0])


def _refuse_unknown_code(loaded: LoadedConfig, run: Path) -> None:
    """A folder that may have come from elsewhere may not choose which module gets imported."""
    name = loaded.experiment.model.model
    if ":" in name and not trained_own_network(name, loaded.path, run):
        raise DataError(
            f"The run needs the code {name!r}, which no given config names.",
            "If you trust that code, give the config that names it instead of the folder.",
            str(run),
        )


def find_model(path: Path) -> Path:
    """The file of the trained model that a path means: a package, or that of an ensemble.

    Raises
    ------
    ConfigError : there is nothing at it, or something else.
    DataError : the run is not finished, or files of it are damaged.
    """
    given = find_given(path)
    if given.model is not None:
        return given.model
    if given.config is not None:
        loaded = load(given.config)
        if not (loaded.experiment.train.run_dir / FILE_NAME).is_file():
            return model_file(loaded)
    elif given.run is None:
        raise given.lacks("a trained model")
    return Manifest.read(run_folder(path)).model_file


@dataclass(frozen=True)
class TrainedNetwork:
    """The package of a single trained network.

    Attributes
    ----------
    run : folder of its run; None where it lies by itself.
    """

    file: Path
    run: Path | None = None

    @property
    def manifest(self) -> Manifest | None:
        """Of its run; None without one.

        Raises
        ------
        DataError : it is damaged.
        """
        return None if self.run is None else Manifest.find(self.run)


def find_network(path: Path, where: str) -> TrainedNetwork:
    """The single network that a path means.

    Parameters
    ----------
    path : see `find_given`.
    where : the option or key that names it, for errors.

    Raises
    ------
    DataError : there is none, it is several, or files of its run are damaged.
    ConfigError : there is nothing at the path, or the config cannot be read.
    """
    given = find_given(path, where)
    if given.model is not None:
        if is_ensemble(given.model):
            raise _several(path, where)
        return TrainedNetwork(given.model, given.run)
    if given.run is not None:
        return _of_run(given.run, where)
    if given.config is None:
        raise given.lacks("a trained model", where)
    train = load(given.config).experiment.train
    if (train.run_dir / FILE_NAME).is_file():
        return _of_run(train.run_dir, where)
    return _existing(TrainedNetwork(train.model_dir / train.best_model_file), path, where)


def _of_run(folder: Path, where: str) -> TrainedNetwork:
    manifest = Manifest.read(folder)
    if manifest.crossval is not None:
        raise _several(folder, where)
    # That of the best epoch, be there an ensemble of snapshots beside it.
    name = str(manifest.config.get("train", {}).get("best_model_file") or BEST)
    return _existing(TrainedNetwork(manifest.model_dir / Path(name).name, folder), folder, where)


def _existing(network: TrainedNetwork, path: Path, where: str) -> TrainedNetwork:
    if is_ensemble(network.file):
        raise _several(path, where)
    if not network.file.is_file():
        raise DataError(
            f"{path} has no trained network yet: there is no {network.file}.",
            "Train it first, or give its package.",
            where,
        )
    return network


def _several(path: Path, where: str) -> DataError:
    return DataError(
        f"{path} is several networks, but a training begins with one.",
        "Give one of them, e.g. the folder of a fold, or a package of an ensemble's members.",
        where,
    )
