"""What a path of the command line means: a config, a run, a trained model or an evaluation.

All commands and the functions of Python ask here, so that each takes every path in which it can
find what it needs. Only names of files are looked at, which takes no time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flexseg.errors import ConfigError
from flexseg.files.entries import require_file
from flexseg.inference.model_files import is_model, model_in
from flexseg.near_paths import check_config, is_config
from flexseg.storage.mirror import present

MANIFEST = "run.json"
# What `flexseg init`, `plan` and `auto` call the config that they write, and the folder of its run.
CONFIG = "flexseg.toml"
RUN = "run"
# What `flexseg plan` and `auto` keep of the data beside that config.
FINGERPRINT = "fingerprint.json"
# The page that `flexseg auto` writes last.
REPORT = "report.html"
HISTORY = "history.json"
# Folder of the scores of a run, in that of the run; its files, and that of the originals beside it.
EVALUATION = "evaluation"
SUMMARY, CASES = "summary.json", "cases.csv"
ORIGINAL_SCORES = "evaluation.csv"
# Folder of what `flexseg advise` says of a run, and its file.
ADVICE, ADVICE_FILE = "advice", "advice.json"
_SCORES = (SUMMARY, CASES)
EXPECTED = (
    "Give a config, the folder of a run, of a cross-validation or of `flexseg auto`, or a model "
    "(best_model.h5, ensemble.json, model.onnx of an export)"
)


@dataclass(frozen=True)
class Given:
    """What lies at a path; at least one of the four.

    Attributes
    ----------
    path : as it was given, absolute.
    config : file of a config.
    run : folder of a training or a cross-validation.
    model : package, or file of an ensemble, that is meant by itself.
    evaluation : folder of scores that is meant by itself.
    """

    path: Path
    config: Path | None = None
    run: Path | None = None
    model: Path | None = None
    evaluation: Path | None = None

    def lacks(self, what: str, where: str = "") -> ConfigError:
        """The error of a command that needs something else.

        Parameters
        ----------
        what : that is needed, e.g. "a config".
        where : the option or key that gives the path.
        """
        kinds = {
            "a trained model": self.model,
            "the folder of a run": self.run,
            "the folder of an evaluation": self.evaluation,
            "a config": self.config,
        }
        found = next(kind for kind, place in kinds.items() if place is not None)
        return ConfigError(
            f"This is {found}, but {what} is needed.", f"Give {what}.", _place(self.path, where)
        )


def find_given(path: Path, where: str = "") -> Given:
    """Find out what a path means.

    A folder with a run in it is that run. A folder with a config is that config: so the folders of
    `flexseg init`, `plan` and `auto` are, and those of old projects.

    Parameters
    ----------
    where : the option or key that gives it, for errors.

    Raises
    ------
    ConfigError : there is nothing at it, nothing of flexseg, or several configs.
    DataError : it is a link to nothing.
    """
    path = present(path.absolute())
    if path.is_dir():
        return _of_folder(path, where)
    if not path.exists():
        if path.is_symlink():
            require_file(path)  # says where it leads
        raise ConfigError(
            "There is no such file or folder.",
            check_config(path),
            _place(path, where),
        )
    if path.name == MANIFEST:
        return Given(path, run=path.parent)
    if is_model(path):
        return Given(path, run=run_of_model(path), model=path)
    return Given(path, config=path)


def run_of_model(file: Path) -> Path | None:
    """The run that has left a model where it lies."""
    for folder in file.absolute().parents[:2]:
        if (folder / MANIFEST).is_file():
            return folder
    return None


def _of_folder(folder: Path, where: str) -> Given:
    if (folder / MANIFEST).is_file():
        return Given(folder, run=folder)
    # A training leaves a copy of its config beside its model, where paths in it lead nowhere.
    if (model := model_in(folder)) is not None:
        return Given(folder, run=run_of_model(model), model=model)
    configs = [path for path in sorted(folder.iterdir()) if is_config(path)]
    usual = folder / CONFIG
    if usual in configs or len(configs) == 1:
        return Given(folder, config=usual if usual in configs else configs[0])
    if (folder / RUN / MANIFEST).is_file():
        return Given(folder, run=folder / RUN)
    if any((folder / name).is_file() for name in _SCORES):
        return Given(folder, evaluation=folder)
    if (folder / HISTORY).is_file() or any((folder / EVALUATION / n).is_file() for n in _SCORES):
        return Given(folder, run=folder)  # whose manifest was lost
    if configs:
        names = ", ".join(path.name for path in configs)
        raise ConfigError(
            f"There are {len(configs)} configs in this folder: {names}.",
            "Give one of them.",
            _place(folder, where),
        )
    raise ConfigError(
        f"There is nothing made by flexseg in this folder: no {MANIFEST}, config, model or scores.",
        f"{EXPECTED}; `flexseg train` and `flexseg auto` make them.",
        _place(folder, where),
    )


def _place(path: Path, where: str) -> str:
    return f"{where}, {path}" if where else str(path)
