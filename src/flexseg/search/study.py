"""The memory of a search: an Optuna study, and what we note in it.

Optuna's own state of a trial says what its sampler learns from it; ours, in the trial's attributes,
says what happened to it.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flexseg.errors import ConfigError
from flexseg.machine import pip_install
from flexseg.search.study_places import StudyPlace

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, Trial

# Trials report their score at tenths of their time, since their epochs take differently long.
STEPS = 10
_FIRST_PRUNED_STEP = 3
# Who tries values that so many hosts were lost with would most likely be lost too.
_LOSSES = 2


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
    worker, host, search : the number of its process among those of a search, the folder of that in
        a study of many hosts, and what tells it from all others.
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
    host: str = ""
    search: str = ""
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
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", "Heartbeat of storage")  # we tell it ourselves
    optuna.logging.disable_default_handler()
    for name in ("optuna", "alembic"):
        log = logging.getLogger(name)
        log.handlers[:] = logging.getLogger("flexseg").handlers
        log.setLevel(logging.WARNING)


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


def open_study(place: StudyPlace, *, maximize: bool, startup: int, prune: bool = True) -> Study:
    """The study of a place; a new one if there is none.

    Trials are ended early by the median rule (Golovin 2017, Google Vizier).

    Parameters
    ----------
    startup : trials before it looks at the scores.

    Raises
    ------
    ConfigError : what is there is no study, or one of another version of Optuna.
    ResourceError : the place cannot be used.
    """
    require_optuna()
    import optuna

    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if prune:
        pruner = optuna.pruners.MedianPruner(startup, n_warmup_steps=_FIRST_PRUNED_STEP)
    try:
        return optuna.create_study(
            storage=place.storage(_give_again),
            pruner=pruner,
            study_name=place.name,
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
        )
    except Exception as error:  # SQLAlchemy's own, which are many
        raise place.explained(error) or ConfigError(
            f"This is not a usable study ({type(error).__name__}).",
            place.way_out,
            place.where,
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
        host=noted.get("host", ""),
        search=noted.get("search", ""),
        params=dict(trial.params),
    )


def best_of(trials: list[TrialRecord], *, maximize: bool) -> TrialRecord | None:
    """The finished trial of the best score; of equal ones the first."""
    finished = [t for t in trials if t.state is State.FINISHED and t.score is not None]
    if not finished:
        return None
    sign = -1 if maximize else 1
    return min(finished, key=lambda t: (sign * (t.score or 0.0), t.number))


def _give_again(study: Study, trial: FrozenTrial) -> None:
    """What is done with a trial whose host is lost, once Optuna has ended it."""
    lost = trial.user_attrs.get("lost", 0) + 1
    state, reason = State.INTERRUPTED, f"{trial.user_attrs.get('host', 'its host')} is lost"
    if lost > _LOSSES:
        state, reason = State.FAILED, f"{lost} hosts were lost with it"
    study.set_user_attr(_abandoned(trial.number), {"state": state, "reason": reason})
    if state is State.INTERRUPTED:
        try_again(study, _record(trial, {}), lost=lost)


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


def try_again(study: Study, trial: TrialRecord, *, lost: int = 0) -> None:
    """Let the values of a trial be the next ones.

    Parameters
    ----------
    lost : hosts that were lost with them.
    """
    attributes: dict[str, object] = {"start": True} if trial.is_start else {}
    if lost:
        attributes["lost"] = lost
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
