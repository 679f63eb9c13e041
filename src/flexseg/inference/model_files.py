"""The files of trained models, told by their names: packages, ensembles of these, and exports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from flexseg.config.load import LoadedConfig
from flexseg.errors import DataError
from flexseg.files.json_file import read_json
from flexseg.model_file.onnx_file import SUFFIX

# Of a package of weights.
PACKAGES = (".h5", ".hdf5")
# Of `flexseg export`, in the folder that it writes.
EXPORT = "model.onnx"
# Names the members of an ensemble, which lie in a folder beside it.
ENSEMBLE = "ensemble.json"
MEMBERS = "members"
# Keys of hashes of images that the members have seen, and of those that only validated.
SEEN = "seen_images"
VALIDATED = "validation_images"
# The package of a training, unless the config names another.
BEST = "best_model.h5"


def is_package(path: Path) -> bool:
    """Whether a file is a package of weights."""
    return path.suffix.lower() in PACKAGES


def is_ensemble(path: Path) -> bool:
    """Whether a model file names members instead of holding weights."""
    return path.suffix.lower() == ".json"


def is_model(path: Path) -> bool:
    """Whether a file is a trained model: a single one, an ensemble, or an export."""
    return is_package(path) or is_ensemble(path) or is_onnx(path)


def is_onnx(path: Path) -> bool:
    """Whether a file is in ONNX: an export, or the network of a package, which is none."""
    return path.suffix.lower() == SUFFIX


def model_in(folder: Path) -> Path | None:
    """The ensemble in a folder, else its usual package, else its export; None without them."""
    names = (ENSEMBLE, BEST, EXPORT)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def model_file(loaded: LoadedConfig) -> Path:
    """The trained model of a config, which evaluation and inference use.

    It is what `[train] best_model_file` names. Of a training with snapshots it is their ensemble
    as soon as that is written, unless the config names a file itself.
    """
    train = loaded.experiment.train
    together = train.model_dir / ENSEMBLE
    chosen = "train.best_model_file" in loaded.sources
    if train.snapshots > 1 and not chosen and together.is_file():
        return together
    return train.model_dir / train.best_model_file


def read_members(path: Path) -> list[Path]:
    """The model packages of an ensemble.

    Raises
    ------
    DataError : the file is damaged, or a member is missing.
    """
    members = [path.parent / name for name in read_ensemble(path)["members"]]
    if missing := [str(member) for member in members if not member.is_file()]:
        raise DataError(
            f"{len(missing)} of {len(members)} members are missing, e.g. {missing[0]}.",
            f"Keep the folder {MEMBERS} beside the ensemble's file.",
            str(path),
        )
    return members


def packages_of(model: Path) -> list[Path]:
    """The packages of a model: itself, or the members of an ensemble."""
    return read_members(model) if is_ensemble(model) else [model]


def read_ensemble(path: Path) -> dict[str, Any]:
    """The content of the file of an ensemble.

    Raises
    ------
    DataError : there is none, or it is damaged.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise DataError(
            "There is no such ensemble.",
            "`flexseg crossval CONFIG` makes one once all folds are trained; `flexseg ensemble` "
            "makes one of any models.",
            str(path),
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"It cannot be read ({error}).", "Write it again.", str(path)) from None
    names = content.get("members") if isinstance(content, dict) else None
    noted = [content.get(key, []) for key in (SEEN, VALIDATED)] if names else []
    if not (names and _texts(names) and all(map(_digests, noted))):
        raise DataError(
            "This is not a list of an ensemble's members.",
            f'Write {{"members": ["{MEMBERS}/fold_0.h5", ...]}}, relative to the file.',
            str(path),
        )
    return dict(content)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _digests(value: Any) -> bool:
    return _texts(value) and all(re.fullmatch(r"([0-9a-f]{2})+", text) for text in value)
