"""The runs below a folder, from their manifests alone: no tracking is needed for it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeGuard

from flexseg.dataset.layout import dataset_name
from flexseg.errors import ConfigError, DataError
from flexseg.machine import real_path
from flexseg.near_paths import check_path
from flexseg.runs.evaluations import read_summary
from flexseg.runs.given import EVALUATION, HISTORY, SUMMARY
from flexseg.runs.history import read_history
from flexseg.runs.manifest import FILE_NAME, Manifest


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run; None where its files do not say it.

    Attributes
    ----------
    name : folder of the run, relative to the one that was searched.
    status : "running", "finished", "interrupted", "failed", or "damaged".
    started : ISO 8601 with offset.
    data : folder of the images, and cases of training + validation.
    epochs : that are done.
    val_loss : the lowest (of the training loss where nothing validates).
    dice, ci95 : macro mean of the run's evaluation with its 95 % interval.
    cases : that were evaluated.
    seconds : of training.
    problem : what is wrong with the files.
    """

    name: str
    folder: Path
    status: str
    started: str | None = None
    model: str | None = None
    data: str | None = None
    epochs: int | None = None
    val_loss: float | None = None
    dice: float | None = None
    ci95: tuple[float, float] | None = None
    cases: int | None = None
    seconds: float | None = None
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self) | {"folder": str(self.folder)}


# Key of --sort -> what of a run it compares, and whether the largest comes first.
_KEYS: dict[str, tuple[Callable[[RunInfo], Any], bool]] = {
    "name": (lambda run: run.name, False),
    "started": (lambda run: run.started, True),
    "status": (lambda run: run.status, False),
    "model": (lambda run: run.model, False),
    "data": (lambda run: run.data, False),
    "epochs": (lambda run: run.epochs, True),
    "val_loss": (lambda run: run.val_loss, False),
    "dice": (lambda run: run.dice, True),
    "seconds": (lambda run: run.seconds, False),
}
SORT_KEYS = tuple(_KEYS)


def find_runs(folder: Path) -> list[RunInfo]:
    """The runs in a folder and all folders below, by name.

    A manifest that cannot be read is a run too, with the status "damaged" and its problem.

    Raises
    ------
    DataError : there is no such folder.
    """
    if not folder.is_dir():
        raise DataError("There is no such folder.", check_path(folder), str(folder))
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if FILE_NAME in files:
            found.append(read_run(Path(place), folder))
    return found


def sort_runs(runs: Sequence[RunInfo], key: str) -> list[RunInfo]:
    """Runs by one of `SORT_KEYS`: best or newest first, those without a value last.

    Raises
    ------
    ConfigError : there is no such key.
    """
    if key not in _KEYS:
        raise ConfigError(
            f"Runs cannot be sorted by {key!r}.",
            f"Sort by one of {', '.join(SORT_KEYS)}.",
            "--sort",
        )
    value, descending = _KEYS[key]
    known = [run for run in runs if value(run) is not None]
    unknown = [run for run in runs if value(run) is None]
    return sorted(known, key=value, reverse=descending) + unknown


def read_run(folder: Path, base: Path) -> RunInfo:
    """One run; what is damaged becomes its `problem`.

    Parameters
    ----------
    base : folder that the name is relative to.
    """
    relative = folder.relative_to(base).as_posix()
    name = real_path(folder).name if relative == "." else relative
    try:
        manifest = Manifest.read(folder)
    except DataError as error:
        return RunInfo(name, folder, "damaged", problem=f"{FILE_NAME}: {error.problem}")
    problems = []
    losses: list[float] = []
    summary: dict[str, Any] = {}
    try:
        history = read_history(folder) or {}
        losses = [v for v in history.get("val_loss") or history.get("loss") or () if v is not None]
    except DataError as error:
        problems.append(f"{HISTORY}: {error.problem}")
    try:
        summary = read_summary(folder / EVALUATION)
    except DataError as error:
        problems.append(f"{EVALUATION}/{SUMMARY}: {error.problem}")
    best = manifest.best.loss if manifest.best else None
    dice = _part(summary, "macro", "dice")
    ci, mean, cases = dice.get("ci95"), dice.get("mean"), summary.get("cases")
    return RunInfo(
        name,
        folder,
        manifest.status,
        manifest.started,
        _text(manifest.config.get("model", {}).get("model")),
        _data(manifest),
        manifest.epochs or len(losses) or None,
        min(losses, default=None) if best is None else best,
        float(mean) if _is_number(mean) else None,
        (float(ci[0]), float(ci[1])) if _is_interval(ci) else None,
        cases if isinstance(cases, int) else None,
        manifest.seconds,
        "; ".join(problems) or None,
    )


def _part(content: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A nested object, empty where it is missing or something else."""
    part: Any = content
    for key in keys:
        part = part.get(key) if isinstance(part, dict) else None
    return part if isinstance(part, dict) else {}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_interval(value: Any) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _data(manifest: Manifest) -> str | None:
    """Name of the dataset's folder, and the cases of training + validation."""
    counts = [manifest.data[s].cases for s in ("train", "valid") if s in manifest.data]
    sizes = "+".join(str(n) for n in counts if n is not None)
    for section in ("dataset", "train"):
        given = manifest.config.get(section, {})
        if path := _text(given.get("images_dir")):
            return f"{dataset_name(path, _text(given.get('masks_dir')) or '')} {sizes}".strip()
    return sizes or None
