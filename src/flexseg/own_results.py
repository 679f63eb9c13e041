"""Which results are ours: only these move aside, and `--output` writes only where nothing else is.

A folder is ours when it has a marker, a JSON file that flexseg has written, or when it holds only
names that flexseg or the original systems write, and folders with a marker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from flexseg import __version__, lock
from flexseg.errors import ConfigError
from flexseg.outputs import (
    entries_of,
    explain_os_errors,
    refuse_overlap,
    set_aside,
    write_json,
)
from flexseg.storage.sending import prepare

# File -> keys of which its JSON has all. Other programs have files of these names too.
_MARKERS: dict[str, tuple[frozenset[str], ...]] = {
    "run.json": (frozenset({"config_sha256"}), frozenset({"config", "status"})),
    "dataset.json": (frozenset({"made_by", "parameters"}),),
    "augmentation.json": (frozenset({"made_by", "fingerprint"}),),
    "predictions.json": (
        frozenset({"pixels_per_class", "failed"}),
        frozenset({"volumes", "failed"}),
    ),
    "summary.json": (frozenset({"cases", "classes"}),),
    "ensemble.json": (frozenset({"members", "kind"}),),
    "comparison.json": (frozenset({"metric", "runs"}),),
    "postprocessing.json": (frozenset({"scores"}),),
    ".flexseg.json": (frozenset({"made_by"}),),
}
MARKER = ".flexseg.json"
# What flexseg and the original systems call their results, old ones that moved aside included.
_NAMES = (
    "flexseg.toml", "demo.toml", "fingerprint.json", "split.json", "[123].*.bat", "[123].*.sh",
    "run.json", "run", "history.json", "generate_images.txt", "report.html", "report.json",
    "summary.txt", "model.png", "*_Statistics.png", "*_images_sample.png", "*_masks_sample.png",
    "augmentation_preview.png", "models", "eval", "evaluation", "evaluation_*",
    "epoch_change_infer", "epoch_change_tiled_infer", "Epoch_*", "epoch_*", "best_model*",
    "*.weights.h5", "checkpoint.npz", "snapshot*", ".engine_cache", "*.config", "train_metrics.*",
    "train_losses.*", "train_eval_infer*", "times.csv", "evaluation.csv", "cases.csv",
    "groups.csv", "files.csv", "summary.json", "plain", "int8", "comparison.json",
    "comparison*.csv", "comparison.png", "trials.csv", "postprocessing.json", "study.db",
    "best.toml", "best", "review", "annotations.csv", "asking.lock", "trial_*", "tune", "advice",
    "training.log", "ensemble.json", "members", "fold_*", "*_bak", MARKER,
)  # fmt: skip
# What the system keeps in folders that people have opened.
_OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini")
_NEW = "Name a new one with --output."


def is_ours(folder: Path, also: Collection[str] = ()) -> bool:
    """Whether a folder holds results of flexseg, or nothing at all.

    Parameters
    ----------
    also : further names of results.
    """
    if not folder.is_dir():
        return False
    inside = [path for path in entries_of(folder) if path.name not in _OF_THE_SYSTEM]
    return any(map(_is_marker, inside)) or all(p.name in also or _has_our_name(p) for p in inside)


def _is_marker(path: Path) -> bool:
    wanted = _MARKERS.get(path.name)
    if wanted is None:
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and any(keys <= content.keys() for keys in wanted)


def _has_our_name(path: Path) -> bool:
    known = any(fnmatchcase(path.name, pattern) for pattern in _NAMES)
    return known or _is_marker(path / MARKER)


def mark(folder: Path, command: str) -> None:
    """Mark a folder as results of a command, also for when it ends early.

    Raises
    ------
    ResourceError : the system refuses.
    """
    write_json(folder / MARKER, {"made_by": f"flexseg {__version__} {command}"})


def claim_folder(
    folder: Path, inputs: Iterable[Path | None] = (), option: str = "--output"
) -> None:
    """Refuse a folder given by an option that is an input, a file, or holds what is not ours.

    Raises
    ------
    ConfigError : it is, or does.
    InUseError : another program writes there; what it has written so far tells nothing.
    """
    prepare(folder)
    refuse_overlap({option: folder}, inputs)
    with explain_os_errors(folder):
        lock.refuse_if_held(lock.lock_of(folder))
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"{folder} is a file, but a folder is needed there.",
            f"Name a new one with {option}.",
            option,
        )
    if folder.is_dir() and not is_ours(folder):
        foreign = next(p.name for p in entries_of(folder) if not _has_our_name(p))
        raise ConfigError(
            f"The folder {folder} holds files that flexseg did not write, e.g. {foreign}.",
            f"Name a new or empty one with {option}.",
            option,
        )


def claim_files(folder: Path, names: Iterable[str], option: str = "--output") -> None:
    """Refuse to write files into a folder that is not ours and has some of that name.

    Raises
    ------
    ConfigError : it is, and has.
    """
    prepare(folder)
    taken = [name for name in names if (folder / name).exists()]
    if taken and not is_ours(folder):
        raise ConfigError(
            f"The folder {folder} was not made by flexseg, and already has a {taken[0]}.",
            f"Name a new or empty one with {option}.",
            option,
        )


def claim_file(
    path: Path, what: str, is_one: Callable[[Path], bool], option: str = "--output"
) -> None:
    """Refuse a file given by an option where a file of another kind is.

    Parameters
    ----------
    what : kind of file that is written, for people.
    is_one : tells one.

    Raises
    ------
    ConfigError : there is another one.
    """
    prepare(path)
    if path.exists() and not is_one(path):
        raise ConfigError(f"There is already a file that is not a {what}: {path}.", _NEW, option)


def claim_picture(path: Path, option: str = "--output") -> None:
    """Refuse a place for a PNG where a file of another kind is.

    Raises
    ------
    ConfigError : there is one.
    """
    claim_file(path, "PNG", begins_with(b"\x89png"), option)


def json_with(*keys: str) -> Callable[[Path], bool]:
    """What tells JSON objects that have one of some keys."""

    def is_one(path: Path) -> bool:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(content, dict) and not content.keys().isdisjoint(keys)

    return is_one


def begins_with(*beginnings: bytes) -> Callable[[Path], bool]:
    """What tells files that begin with certain bytes, in any letter case."""

    def is_one(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                return file.read(512).lstrip().lower().startswith(beginnings)
        except OSError:
            return False

    return is_one


def clear(folder: Path, also: Collection[str] = ()) -> None:
    """Move earlier results in a folder aside: all of it if it is ours, else what has our names.

    Parameters
    ----------
    also : further names of results.

    Raises
    ------
    InUseError : another program writes there.
    """
    prepare(folder)
    if is_ours(folder, also):
        set_aside(folder)
    elif folder.is_dir():
        for path in entries_of(folder):
            ours = path.name in also or _has_our_name(path)
            if ours and not path.name.endswith("_bak"):
                set_aside(path)
