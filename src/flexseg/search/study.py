"""The memory of a search: an Optuna study in an SQLite file, and what we note in it.

Optuna's own state of a trial says what its sampler learns from it; ours, in the trial's attributes,
says what happened to it.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexseg.errors import ConfigError, ResourceError
from flexseg.machine import pip_install

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, Trial

FILE_NAME = "study.db"
_ASK_LOCK = "asking.lock"
_STUDY = "flexseg"
# Trials report their score at tenths of their time, since their epochs take differently long.
STEPS = 10
_FIRST_PRUNED_STEP = 3
# Several processes write into one file; each waits this long for the others.
_SECONDS_TO_WRITE = 60


class State(StrEnum):
    """What happened to a trial."""

    RUNNING = "running"
    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class TrialRecord:
    """One trial, for tables.

    Attributes
    ----------
    score : of the epoch whose weights were saved; of a pruned trial the last known one.
    values : "section.key" -> value.
    reason : why it did not run to its end.
    exit_code : of the error that it failed by; 0 if it did not, or by none of ours.
    is_start : the trial of the config as it is.
    """

    number: int
    state: State
    score: float | None
    seconds: float
    epochs: int
    values: dict[str, object]
    reason: str = ""
    exit_code: int = 0
    is_start: bool = False
    worker: int = 0
    params: dict[str, object] = field(default_factory=dict)


def require_optuna() -> None:
    """Raise ConfigError if Optuna is not installed; its messages go to our log."""
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "A search needs Optuna, which is not installed.",
            f"Install it: {pip_install('tune')}.",
            "flexseg tune",
        ) from None
    optuna.logging.disable_default_handler()
    for name in ("optuna", "alembic"):
        log = logging.getLogger(name)
        log.handlers[:] = logging.getLogger("flexseg").handlers
        log.setLevel(logging.WARNING)


@contextmanager
def _in_turn(file: Path) -> Iterator[None]:
    """Wait for other processes by a lock that ends with its process, however that ends."""
    turn = sqlite3.connect(file, timeout=_SECONDS_TO_WRITE, isolation_level=None)
    try:
        with suppress(sqlite3.OperationalError):  # who holds it for so long hangs
            turn.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        turn.close()


def sampler_of(startup: int, seeds: Sequence[int]) -> BaseSampler:
    """Chooses the values of a trial.

    By TPE (Watanabe 2023, "Tree-structured Parzen estimator"), for all keys together.

    Parameters
    ----------
    startup : trials before it looks at the scores.
    seeds : what its draws depend on besides.
    """
    import numpy as np
    import optuna

    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    return optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed)


def ask(study: Study, folder: Path, distributions: Mapping[str, BaseDistribution]) -> Trial:
    """The next trial.

    Processes ask one after the other: on SQLite two that ask at once may both get the trial that
    waits, as it cannot lock a row.
    """
    with _in_turn(folder / _ASK_LOCK):
        return study.ask(dict(distributions))


def _storage(folder: Path) -> RDBStorage:
    from optuna.storages import RDBStorage

    # The folder's name may hold what has another meaning in an address: ? % # and braces.
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            folder / FILE_NAME, timeout=_SECONDS_TO_WRITE, check_same_thread=False
        )

    return RDBStorage(f"sqlite:///{FILE_NAME}", engine_kwargs={"creator": connect})


def open_study(folder: Path, *, maximize: bool, startup: int, prune: bool = True) -> Study:
    """The study of a folder; a new one if there is none.

    Trials are ended early by the median rule (Golovin 2017, Google Vizier).

    Parameters
    ----------
    startup : trials before it looks at the scores.

    Raises
    ------
    ConfigError : the file is no study.
    """
    require_optuna()
    import optuna

    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if prune:
        pruner = optuna.pruners.MedianPruner(startup, n_warmup_steps=_FIRST_PRUNED_STEP)
    try:
        return optuna.create_study(
            storage=_storage(folder),
            pruner=pruner,
            study_name=_STUDY,
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
        )
    except Exception as error:  # SQLAlchemy's own, which are many
        if "disk" in str(error.__cause__):
            raise ResourceError(
                "It cannot be written (the disk is full or fails).",
                "Free some space, or choose another folder with --set train.run_dir=FOLDER.",
                str(folder / FILE_NAME),
            ) from error
        raise ConfigError(
            f"This is not a usable study ({type(error).__name__}).",
            "Start over with --fresh: the search is moved aside.",
            str(folder / FILE_NAME),
        ) from error


def note(trial: Trial, **attributes: object) -> None:
    """Write what happened to a trial."""
    for name, value in attributes.items():
        trial.set_user_attr(name, value)


def records(study: Study) -> list[TrialRecord]:
    """All trials that have begun, in their order."""
    from optuna.trial import TrialState

    abandoned = study.user_attrs
    return [
        _record(trial, abandoned.get(_abandoned(trial.number), {}))
        for trial in study.get_trials(deepcopy=False)
        if trial.state is not TrialState.WAITING
    ]


def _record(trial: FrozenTrial, abandoned: Mapping[str, Any]) -> TrialRecord:
    noted: Mapping[str, Any] = {"state": State.FAILED, **trial.user_attrs, **abandoned}
    return TrialRecord(
        number=trial.number,
        state=State.RUNNING if not trial.state.is_finished() else State(noted["state"]),
        score=noted.get("score"),
        seconds=float(noted.get("seconds", 0.0)),
        epochs=int(noted.get("epochs", 0)),
        values=json.loads(noted.get("values", "{}")),
        reason=noted.get("reason", ""),
        exit_code=int(noted.get("exit_code", 0)),
        is_start=bool(noted.get("start", False)),
        worker=int(noted.get("worker", 0)),
        params=dict(trial.params),
    )


def best_of(trials: list[TrialRecord], *, maximize: bool) -> TrialRecord | None:
    """The finished trial of the best score; of equal ones the first."""
    finished = [t for t in trials if t.state is State.FINISHED and t.score is not None]
    if not finished:
        return None
    sign = -1 if maximize else 1
    return min(finished, key=lambda t: (sign * (t.score or 0.0), t.number))


def abandon(study: Study, trial: TrialRecord, state: State, reason: str) -> None:
    """End a trial whose process is gone; an interrupted one is tried again.

    Parameters
    ----------
    state : `FAILED` or `INTERRUPTED`.
    """
    from optuna.trial import TrialState

    study.set_user_attr(_abandoned(trial.number), {"state": state, "reason": reason})
    if state is State.INTERRUPTED:
        try_again(study, trial)
        study.tell(trial.number, state=TrialState.FAIL)
    else:
        study.tell(trial.number, state=TrialState.PRUNED)  # see `tell`


def tell(study: Study, trial: Trial, state: State, score: float | None) -> None:
    """Tell Optuna how a trial ended.

    A failed trial counts as a bad one, like those that are pruned: the sampler must learn to avoid
    its values, which it does not from those that Optuna calls failed.
    """
    from optuna.trial import TrialState

    if state is State.INTERRUPTED:
        study.tell(trial, state=TrialState.FAIL)
    elif state is State.FINISHED and score is not None:
        study.tell(trial, score)
    else:
        study.tell(trial, state=TrialState.PRUNED)


def _abandoned(number: int) -> str:
    """Attribute of the study that says what became of a trial whose process could not."""
    return f"trial_{number}"


def try_again(study: Study, trial: TrialRecord) -> None:
    """Let the values of a trial be the next ones."""
    attributes = {"start": True} if trial.is_start else {}
    study.enqueue_trial(trial.params, user_attrs=attributes)


def importances(study: Study) -> dict[str, float]:
    """Share of each key in the differences between scores; empty where too few are known.

    Watanabe 2023, "PED-ANOVA: Efficiently quantifying hyperparameter importance".
    """
    import optuna

    finished = [t for t in records(study) if t.state is State.FINISHED]
    if len(finished) < 8:
        return {}
    try:
        found = optuna.importance.get_param_importances(study)
    except (RuntimeError, ValueError):  # e.g. all scores are equal
        return {}
    return {name: float(value) for name, value in found.items()}
