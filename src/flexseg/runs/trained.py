"""The trained model that a path means: a package, a run's folder, that of `auto`, or a config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flexseg.config.load import LoadedConfig, load
from flexseg.errors import DataError
from flexseg.inference.ensemble import is_ensemble, model_file
from flexseg.runs.manifest import FILE_NAME, Manifest

PACKAGES = (".h5", ".hdf5")
# What `flexseg auto` and `flexseg plan` call the folder of their training.
_RUN = "run"


def run_folder(folder: Path) -> Path:
    """The folder of the run in a folder, which is that itself or that of `flexseg auto`."""
    if not (folder / FILE_NAME).is_file() and (folder / _RUN / FILE_NAME).is_file():
        return folder / _RUN
    return folder


def config_of_run(folder: Path) -> LoadedConfig:
    """The config that a run was trained with, whose paths of models are those of today.

    Parameters
    ----------
    folder : of the run, or that of `flexseg auto` around it.

    Raises
    ------
    DataError : there is no manifest of a run, it is damaged, or of another version of flexseg.
    """
    folder = run_folder(folder)
    manifest = Manifest.read(folder)
    config = Path(manifest.config_file)
    if not config.is_file():
        config = folder.parent / config.name
    experiment = manifest.experiment()

    def with_model(**keys: object) -> LoadedConfig:
        places = {"run_dir": manifest.folder, "model_dir": manifest.model_dir}
        train = experiment.train.model_copy(update=places | keys)
        found = experiment.model_copy(update={"train": train})
        sources = manifest.sources | {f"train.{key}": FILE_NAME for key in keys}
        return LoadedConfig(config, found, (), sources, legacy=False)

    file = model_file(with_model())
    if not file.is_file():
        # Of a cross-validation there is only the ensemble, and the manifest names it.
        file = manifest.model_file
    return with_model(best_model_file=file.name)


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
    path : a package, the folder of a run or of `flexseg auto`, or a config that was trained.
    where : the option or key that names it, for errors.

    Raises
    ------
    DataError : there is none, it is several, or files of its run are damaged.
    ConfigError : the config cannot be read.
    """
    if not path.exists():
        raise DataError(
            f"There is no file or folder {path}.",
            "Give a model package (best_model.h5), the folder of a run, or its config.",
            where,
        )
    if is_ensemble(path):
        raise _several(path, where)
    if path.suffix.lower() in PACKAGES:
        return TrainedNetwork(path, _run_of(path))
    if path.is_dir():
        return _of_folder(path, where)
    train = load(path).experiment.train
    if (train.run_dir / FILE_NAME).is_file():
        return _of_folder(train.run_dir, where)
    return _existing(TrainedNetwork(train.model_dir / train.best_model_file), path, where)


def _of_folder(folder: Path, where: str) -> TrainedNetwork:
    folder = run_folder(folder)
    manifest = Manifest.read(folder)
    if manifest.crossval is not None:
        raise _several(folder, where)
    # That of the best epoch, be there an ensemble of snapshots beside it.
    name = str(manifest.config.get("train", {}).get("best_model_file") or "best_model.h5")
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


def _run_of(file: Path) -> Path | None:
    """The run that has left a package where it lies."""
    for folder in (file.parent, file.parent.parent):
        if (folder / FILE_NAME).is_file():
            return folder
    return None


def _several(path: Path, where: str) -> DataError:
    return DataError(
        f"{path} is several networks: a training begins with one.",
        "Give one of them, e.g. the folder of a fold, or a package of an ensemble's members.",
        where,
    )
