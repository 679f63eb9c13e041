"""The trials of a search: one process that draws values, trains with them, and notes the score.

Several of these work on one study. None of them knows of the others; `search` starts them and
watches over them.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flexseg.config.load import LoadedConfig
from flexseg.errors import FlexsegError, Interrupted, TrainingError
from flexseg.execution.child_processes import begin_worker
from flexseg.execution.machine_share import share_machine
from flexseg.outputs import make_folder
from flexseg.search.short_training import load_into
from flexseg.search.space import Parameter, override
from flexseg.search.study import (
    State,
    TrialRecord,
    note,
    open_study,
    records,
    sampler_of,
    tell,
    try_again,
)
from flexseg.search.study_places import StudyPlace
from flexseg.search.trial_report import Flag, TrialReport
from flexseg.training.at_once.quiet import load_engine, quietly

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    from optuna import Study
    from optuna.trial import Trial

logger = logging.getLogger(__name__)

# So often may values come up again that were tried before the space counts as exhausted.
_REPEATS = 50
# A trial without a measured one before it is expected to take so much longer than its minutes.
_OVERHEAD = 0.03


@dataclass(frozen=True)
class TrialJob:
    """What each process of a search must know.

    Attributes
    ----------
    place : of the study.
    folder : of the trials.
    host, search : which the trials are noted as trials of, see `TrialRecord`.
    backend : engine that a process loads before its first trial; None: none.
    metric : name of the score among the values of an epoch.
    minutes : of each trial.
    deadline : `time.time()` at which the last trial must be done.
    limit : trials at most; 0: any number.
    processes : how many share this machine.
    """

    config: Path
    overrides: tuple[str, ...]
    place: StudyPlace
    folder: Path
    host: str
    search: str
    backend: str | None
    parameters: tuple[Parameter, ...]
    metric: str
    maximize: bool
    minutes: float
    deadline: float
    limit: int
    startup: int
    prune: bool
    seed: int
    processes: int

    def open(self) -> Study:
        """The study."""
        return open_study(
            self.place, maximize=self.maximize, startup=self.startup, prune=self.prune
        )

    def trial_folder(self, number: int) -> Path:
        """Where a trial's run is."""
        return self.folder / f"trial_{number}"

    def load(self, values: Mapping[str, object], folder: Path, minutes: float) -> LoadedConfig:
        """The config of a trial: all its files in a folder, as few as possible."""
        changed = [override(name, value) for name, value in values.items()]
        return load_into(self.config, [*self.overrides, *changed], folder, minutes)

    def may_begin(self, trials: list[TrialRecord]) -> bool:
        """Whether there is time for another trial, and it is wanted."""
        if self.limit and len(_counted(trials)) >= self.limit:
            return False
        seconds = 60 * self.minutes
        known = [t.seconds - seconds for t in trials if t.state is State.FINISHED]
        overhead = max([0.0, *known]) if known else _OVERHEAD * seconds
        return time.time() + seconds + overhead <= self.deadline

    def is_exhausted(self, trials: list[TrialRecord]) -> bool:
        """Every combination of values was tried."""
        tried = {_text(t.values) for t in _counted(trials)}
        return len(tried) >= math.prod(p.count for p in self.parameters)


# Problem, fix and place of an error.
Failure = tuple[str, str, str | None]
Train = Callable[[LoadedConfig, TrialReport], None]


def train_trial(loaded: LoadedConfig, report: TrialReport) -> None:
    """Train one trial; what it prints is in `training.log` of its folder.

    Raises
    ------
    FlexsegError : anything that the user can act on.
    """
    from flexseg.search.epoch_report import EpochReport
    from flexseg.training.trainer import Training

    with quietly(loaded.experiment.train.run_dir) as console:
        training = Training(loaded, console, started=report.started)
        training.callbacks.append(EpochReport(report))
        training.onnx = False  # most trials are never used
        training.run()


def work(job: TrialJob, worker: int, stop: Flag, train: Train) -> None:
    """Run trials until the time is over, enough are done, or it is asked to stop.

    Parameters
    ----------
    worker : number of this process among those of the search, from 0.
    train : trains one trial.
    """
    study = job.open()
    repeated = 0
    while not stop.is_set() and repeated <= _REPEATS:
        drawn = _draw(job, study, worker)
        if drawn is None:
            break
        trial, values, earlier = drawn
        with job.place.alive(study, trial):
            same = next((t for t in earlier[::-1] if _decided(t) and t.values == values), None)
            if same is not None and "start" not in trial.user_attrs:
                repeated += 1
                reason = f"the same values as trial {same.number}"
                _finish(study, trial, same.state, same.score, reason)
                continue
            repeated = 0
            if not _try(job, study, trial, values, stop, train):
                break


def _draw(
    job: TrialJob, study: Study, worker: int
) -> tuple[Trial, dict[str, object], list[TrialRecord]] | None:
    """The next trial, its values, and those before it; None if there shall be no other.

    In turn with other processes: none begins a trial too many.
    """
    distributions = {p.name: p.distribution() for p in job.parameters}
    with job.place.turn():
        earlier = records(study)
        if not job.may_begin(earlier) or job.is_exhausted(earlier):
            return None
        # One that goes on draws as if it had not been interrupted.
        seeds = (job.seed, worker, len(_counted(earlier)))
        study.sampler = sampler_of(job.startup, seeds)
        trial = study.ask(distributions)
        values = {p.name: p.value(trial.params[p.name]) for p in job.parameters}
        note(trial, worker=worker, values=_text(values), host=job.host, search=job.search)
    return trial, values, earlier


def _text(values: Mapping[str, object]) -> str:
    return json.dumps(values, sort_keys=True)


def _counted(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those that are not tried again."""
    return [t for t in trials if t.state is not State.INTERRUPTED]


def _decided(trial: TrialRecord) -> bool:
    return trial.state in (State.FINISHED, State.PRUNED, State.FAILED)


def _try(
    job: TrialJob,
    study: Study,
    trial: Trial,
    values: Mapping[str, object],
    stop: Flag,
    train: Train,
) -> bool:
    """Train one trial and note how it went; False: there is no point in another one."""
    from optuna.exceptions import UpdateFinishedTrialError

    try:
        return _train(job, study, trial, values, stop, train)
    except UpdateFinishedTrialError:
        logger.warning(
            "Trial %d gave no sign of life for too long, and was given to another process.",
            trial.number,
        )
        return True


def _train(
    job: TrialJob,
    study: Study,
    trial: Trial,
    values: Mapping[str, object],
    stop: Flag,
    train: Train,
) -> bool:
    report = TrialReport(trial, job.metric, 60 * job.minutes, stop)
    state, reason = State.FINISHED, ""
    try:
        folder = make_folder(job.trial_folder(trial.number))
        train(job.load(values, folder, job.minutes), report)
        if report.interrupted:
            raise Interrupted("The search was stopped.", "Run the same command again to continue.")
        if report.pruned:
            when = f"after {report.share:.0%} of the time"
            state, reason = State.PRUNED, f"below the median of the others {when}"
        elif report.score is None:
            raise TrainingError(
                "There was no time for an epoch.", "Give trials more time ([tune] trial_minutes)."
            )
    except (Interrupted, KeyboardInterrupt):
        state, reason = State.INTERRUPTED, "the search was stopped"
    except FlexsegError as error:
        state, reason = State.FAILED, f"{error.where}: {error.problem}".removeprefix("None: ")
        note(trial, exit_code=error.exit_code)
    except MemoryError:
        state, reason = State.FAILED, "there was not enough memory"
    except Exception as error:  # a combination of values may fail in the engine itself
        logger.debug("trial %d", trial.number, exc_info=True)
        first = (str(error).strip().splitlines() or [""])[0]
        state, reason = State.FAILED, f"{type(error).__name__}: {first}"[:300]
    note(trial, seconds=round(report.elapsed(), 1), epochs=report.epochs)
    _finish(study, trial, state, report.score, reason)
    hopeless = state is State.FAILED and "start" in trial.user_attrs
    return state is not State.INTERRUPTED and not hopeless


def _finish(study: Study, trial: Trial, state: State, score: float | None, reason: str) -> None:
    """Note how a trial ended; an interrupted one is tried again."""
    note(trial, state=state, reason=reason)
    if score is not None:
        note(trial, score=score)
    tell(study, trial, state, score)
    if state is State.INTERRUPTED:
        try_again(study, next(t for t in records(study) if t.number == trial.number))


def work_alone(
    job: TrialJob, worker: int, stop: Flag, failures: SimpleQueue[Failure], train: Train
) -> None:
    """`work` in a separate process.

    Parameters
    ----------
    stop : event by which the search ends.
    failures : queue for the error that keeps this process from working at all.
    """
    begin_worker()
    share_machine(worker, job.processes)
    try:
        if job.backend is not None:
            load_engine(job.backend)
        work(job, worker, stop, train)
    except Exception as error:
        told = error if isinstance(error, FlexsegError) else job.place.explained(error)
        if told is None:
            raise
        failures.put((told.problem, told.fix, told.where))
        sys.exit(told.exit_code)
