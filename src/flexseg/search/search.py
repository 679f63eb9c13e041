"""Search for better values of a config: many short trainings, chosen by what the last ones told.

Every trial trains on the same cases for the same time, and is measured on the validation set. The
test set takes no part. The first trial is the config as it is, so that what is found is never worse
than it by that measure.
"""

from __future__ import annotations

import logging
import multiprocessing
import platform
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from flexseg import __version__
from flexseg.config.durations import format_duration
from flexseg.config.findings import amount
from flexseg.config.load import LoadedConfig
from flexseg.dataset.division.splits import Splits
from flexseg.errors import ConfigError, FlexsegError, Interrupted, InUseError, TrainingError
from flexseg.machine import usable_cores
from flexseg.one_writer import exclusive
from flexseg.own_results import clear
from flexseg.search.fixed_values import fixed_values, name_of
from flexseg.search.harmless import harmless_overrides
from flexseg.search.outcome import (
    Found,
    keep_small,
    line_of,
    raise_if_hopeless,
    write_results,
)
from flexseg.search.shared_study import SharedStudy, shared_study
from flexseg.search.short_training import splits_to_learn
from flexseg.search.space import metric_of, parameters_of
from flexseg.search.study import (
    State,
    TrialRecord,
    abandon,
    best_of,
    importances,
    open_study,
    records,
    require_optuna,
)
from flexseg.search.study_places import StudyFile, StudyPlace
from flexseg.search.trials import Failure, Train, TrialJob, train_trial, work_alone

if TYPE_CHECKING:
    from multiprocessing.context import SpawnContext, SpawnProcess
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Event

    from optuna import Study

logger = logging.getLogger(__name__)

FOLDER_NAME = "tune"
# A trial's share of the whole time where the config says nothing, and what it should not fall
# below unless fewer than so many trials would be left.
_SHARE = 1 / 12
_SHORTEST = 60.0
_FEWEST = 5
_LOOK = 0.5
# So often a process may end before it has a trial.
_DEATHS = 3
# How long trials may take to stop when asked to, or when the time is over, which they may
# outlast by this share.
_SECONDS_TO_STOP = 20.0
_SECONDS_TO_END = 5.0
_OVERTIME = 0.03


class Search:
    """One search, from its config to its files in `<run_dir>/tune`.

    Of a study that hosts share each has its own files, in `<run_dir>/tune/<study>/<host>`.

    Parameters
    ----------
    loaded : the config, read with `overrides`.
    seconds : for this command, all included.
    processes : trials at a time, each with its share of the processors.
    say : shows a line.
    train : trains one trial; by default `train_trial`.
    started : `time.time()` of when `seconds` begin; without it now.
    storage : URL of the PostgreSQL database of a study that searches share; None: a file.
    study : its name; None: that of the config, and what tells its cases from others.

    Raises
    ------
    ConfigError : Optuna is missing, or `[tune]` or `storage` is wrong.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        overrides: Sequence[str],
        seconds: float,
        *,
        backend: str,
        processes: int = 1,
        say: Callable[[str], None] = logger.info,
        train: Train | None = None,
        started: float | None = None,
        storage: str | None = None,
        study: str | None = None,
    ) -> None:
        self.deadline = (time.time() if started is None else started) + seconds
        require_optuna()
        self.loaded = loaded
        self.overrides = tuple(overrides)
        self.seconds = seconds
        self.backend = backend
        self.processes = processes
        self.say = say
        self.train = train or train_trial
        self.folder = loaded.experiment.train.run_dir / FOLDER_NAME
        self.host = ""
        self.place: StudyPlace = StudyFile(self.folder)
        if storage is not None:
            self.place = shared_study(storage, study or loaded.path.stem)
        self._named = study is not None
        self._search = uuid.uuid4().hex
        e = loaded.experiment
        self.metric, self.maximize = metric_of(e.tune.metric, e.model.metrics)
        self.parameters = parameters_of(loaded, overrides, self.metric)
        self._known: set[int] = set()
        self._seen: set[int] = set()
        self._looked = 0.0
        self._deaths = 0

    def run(
        self, *, fresh: bool = False, on_time: Callable[[float, int], None] | None = None
    ) -> Found:
        """Search until the time is over; an earlier search of the folder goes on.

        Parameters
        ----------
        fresh : move an earlier search aside.
        on_time : called with (seconds so far, seconds in all).

        Raises
        ------
        InUseError : another program searches, or trains, in the folder.
        FlexsegError : anything that the user can act on; `Interrupted` after Ctrl-C.
        """
        try:
            return self._run(on_time, fresh=fresh)
        except FlexsegError:
            raise
        except Exception as error:
            if told := self.place.explained(error):
                raise told from error
            raise

    def _run(self, on_time: Callable[[float, int], None] | None, *, fresh: bool) -> Found:
        splits = splits_to_learn(self.loaded.experiment.data)
        cases = splits.need("train")
        self.overrides += tuple(harmless_overrides(self.loaded, self.parameters, cases))
        common = self._common(splits)
        with self._own_folder(common):
            if fresh:
                clear(self.folder)
            study = self._open()
            with self.place.turn():
                minutes = self._minutes(study)
                self._compare(study, {**common, "tune.trial_minutes": minutes})
                self._prepare(study, minutes)
            try:
                self._watch(study, self._job(minutes), on_time)
            finally:
                found = self._found(study, minutes)
                write_results(found, self.loaded.path, self.overrides)
        if not found.trials:
            raise ConfigError(
                "There was no time for a trial.",
                "Give a longer --time, or shorter trials ([tune] trial_minutes).",
                "--time",
            )
        return found

    @contextmanager
    def _own_folder(self, common: dict[str, object]) -> Iterator[None]:
        """Write alone to the folder; of a shared study, to one that no other search has."""
        if not isinstance(self.place, SharedStudy):
            with exclusive(self.loaded.experiment.train.run_dir, self.folder):
                yield
            return
        if not self._named:
            self.place = replace(self.place, name=f"{self.place.name}-{name_of(common)}")
        host = re.sub(r"[^\w.-]", "_", platform.node()) or "host"
        of_study = self.folder / self.place.name
        with ExitStack() as stack:
            for number in count(1):
                self.host = host if number == 1 else f"{host}_{number}"
                self.folder = of_study / self.host
                with suppress(InUseError):
                    stack.enter_context(exclusive(self.folder))
                    break
            yield

    def _open(self) -> Study:
        return open_study(
            self.place, maximize=self.maximize, startup=self.loaded.experiment.tune.startup
        )

    def _minutes(self, study: Study) -> float:
        """Of each trial: as configured, as before, or a share of the time."""
        given, known = self.loaded.experiment.tune.trial_minutes, study.user_attrs.get("minutes")
        share = max(_SHARE * self.seconds, min(_SHORTEST, self.seconds / _FEWEST))
        minutes = float(given or known or round(share / 60, 3))
        if self.seconds < 60 * minutes:
            raise ConfigError(
                f"A trial takes {format_duration(60 * minutes)}, but the time is "
                f"{format_duration(self.seconds)}.",
                "Give a longer --time. Shorter trials ([tune] trial_minutes) are possible only "
                "in a new search (--fresh).",
                "--time",
            )
        return minutes

    def _common(self, splits: Splits) -> dict[str, object]:
        """What the trials have in common, apart from their time."""
        shared = self.place.is_shared
        found: dict[str, object] = {
            **fixed_values(self.loaded.experiment, splits, paths=not shared),
            "tune.space": {p.name: str(p) for p in self.parameters},
            "tune.metric": self.metric,
            "--backend": self.backend,
        }
        return {**found, "flexseg": __version__} if shared else found

    def _compare(self, study: Study, now: dict[str, object]) -> None:
        """Note what the trials have in common, or compare it with what an earlier search noted.

        Raises
        ------
        ConfigError : the scores would not compare.
        """
        before = study.user_attrs.get("common")
        if before is None:
            study.set_user_attr("common", now)
            study.set_user_attr("minutes", now["tune.trial_minutes"])
            return
        # Older searches also noted the options of other networks, which change nothing.
        before = {k: v for k, v in before.items() if k in now or not k.startswith("model.")}
        changed = sorted(k for k in now.keys() | before.keys() if now.get(k) != before.get(k))
        if changed:
            raise ConfigError(
                f"The search here had other values of: {', '.join(changed)}.",
                f"Restore them. {self.place.way_out}",
                self.place.where,
            )

    def _prepare(self, study: Study, minutes: float) -> None:
        """Settle what an earlier search left open, and let the config as it is come first."""
        if not self.place.is_shared:
            for trial in records(study):
                if trial.state is State.RUNNING:
                    abandon(study, trial, State.INTERRUPTED, "its process was ended")
        trials = records(study)
        self._known = {t.number for t in trials if t.state is not State.RUNNING}
        self.say(
            f"{len(self.parameters)} keys, trials of {format_duration(60 * minutes)}, "
            f"{self.metric} decides ({'higher' if self.maximize else 'lower'} is better)."
        )
        if self.processes > 1:
            self.say(f"{self.processes} trials at a time share {usable_cores()} processors.")
        if self.place.is_shared:
            self.say(f"Hosts share the search {self.place.where}; this one is {self.host}.")
        if trials:
            best = best_of(trials, maximize=self.maximize)
            score = f", the best {self.metric} is {best.score:.4f}" if best else ""
            self.say(f"Continuing the search: {amount(len(trials), 'trial')} so far{score}.")
        begun = (State.RUNNING, State.FINISHED, State.PRUNED)
        started = any(t.is_start and t.state in begun for t in trials)
        if not started and not _start_is_waiting(study):
            values = {p.name: p.stored(p.start) for p in self.parameters}
            study.enqueue_trial(values, user_attrs={"start": True})

    def _job(self, minutes: float) -> TrialJob:
        tune = self.loaded.experiment.tune
        return TrialJob(
            config=self.loaded.path,
            overrides=self.overrides,
            place=self.place,
            folder=self.folder,
            host=self.host,
            search=self._search,
            backend=self.backend if self.train is train_trial else None,
            parameters=self.parameters,
            metric=self.metric,
            maximize=self.maximize,
            minutes=minutes,
            deadline=self.deadline,
            limit=tune.trials,
            startup=tune.startup,
            prune=tune.prune,
            seed=self.loaded.experiment.train.seed,
            processes=self.processes,
        )

    def _watch(
        self, study: Study, job: TrialJob, on_time: Callable[[float, int], None] | None
    ) -> None:
        """Run the processes, start a dead one again, and tell of each trial that is done."""
        context = multiprocessing.get_context("spawn")
        stop, failures = context.Event(), context.SimpleQueue()
        start = partial(_start, context, job, stop=stop, failures=failures, train=self.train)
        workers = {number: start(number) for number in range(self.processes)}
        patience = _SECONDS_TO_STOP
        hard_stop = self.deadline + _OVERTIME * self.seconds
        try:
            while workers and time.time() < hard_stop:
                time.sleep(_LOOK)
                if on_time is not None:
                    left = max(0.0, self.deadline - time.time())
                    on_time(self.seconds - left, round(self.seconds))
                for number, worker in list(workers.items()):
                    if worker.is_alive():
                        continue
                    del workers[number]
                    if not failures.empty():
                        raise FlexsegError(*failures.get())
                    if worker.exitcode:
                        self._note_death(study, number, worker.exitcode)
                        workers[number] = start(number)
                self._give_lost_again(study)
                self._tell(study)
            if workers:
                patience = _SECONDS_TO_END
                logger.warning("The time is over: the trials that are still running are ended.")
        except KeyboardInterrupt:
            raise Interrupted(
                "The search was stopped; its trials are kept.",
                "Run the same command again to continue.",
            ) from None
        finally:
            self._stop(study, list(workers.values()), stop, patience)

    def _stop(
        self, study: Study, workers: list[SpawnProcess], stop: Event, patience: float
    ) -> None:
        stop.set()
        until = time.monotonic() + patience
        for worker in workers:
            with suppress(KeyboardInterrupt):
                worker.join(max(0.0, until - time.monotonic()))
            if worker.is_alive():
                worker.kill()
                worker.join()
        self._abandon(study, State.INTERRUPTED, "the search was stopped")
        self._tell(study, strict=False)

    def _abandon(
        self, study: Study, state: State, reason: str, worker: int | None = None
    ) -> list[TrialRecord]:
        """End the trials of own processes, or of one of them, that are gone."""
        with self.place.turn():
            gone = [
                trial
                for trial in records(study)
                if trial.state is State.RUNNING
                and trial.search in (self._search, "")
                and worker in (None, trial.worker)
            ]
            for trial in gone:
                abandon(study, trial, state, reason)
        return gone

    def _give_lost_again(self, study: Study) -> None:
        if time.monotonic() - self._looked > self.place.beat:
            self._looked = time.monotonic()
            self.place.give_lost_again(study, self._seen)

    def _note_death(self, study: Study, number: int, exit_code: int) -> None:
        """Note what the trial of a dead process died of."""
        reason = f"its process ended with code {exit_code}"
        if exit_code < 0:
            reason = f"its process was killed by signal {-exit_code}, often for lack of memory"
        died = self._abandon(study, State.FAILED, reason, worker=number)
        self._deaths = 0 if died else self._deaths + 1
        if self._deaths > _DEATHS:
            raise TrainingError(
                f"The processes of the search cannot start: {reason}.",
                "Run `flexseg train` with this config to see why.",
            )

    def _tell(self, study: Study, *, strict: bool = True) -> None:
        """Show the trials that have ended since, and drop the weights that are not the best."""
        trials = records(study)
        new = [t for t in trials if t.number not in self._known and t.state is not State.RUNNING]
        if not new:
            return
        best = best_of(trials, maximize=self.maximize)
        for trial in new:
            self._known.add(trial.number)
            self.say(line_of(trial, best, self.metric))
        keep_small(self.folder, [t for t in trials if t.state is not State.RUNNING], best)
        if strict:
            raise_if_hopeless(trials)

    def _found(self, study: Study, minutes: float) -> Found:
        trials = records(study)
        return Found(
            folder=self.folder,
            metric=self.metric,
            maximize=self.maximize,
            minutes=minutes,
            parameters=self.parameters,
            trials=trials,
            best=best_of(trials, maximize=self.maximize),
            start=next((t for t in trials if t.is_start and t.state is State.FINISHED), None),
            importance=importances(study),
            config=self.folder / "best.toml",
            table=self.folder / "trials.csv",
        )


def _start(
    context: SpawnContext,
    job: TrialJob,
    number: int,
    *,
    stop: Event,
    failures: SimpleQueue[Failure],
    train: Train,
) -> SpawnProcess:
    worker = context.Process(target=work_alone, args=(job, number, stop, failures, train))
    worker.start()
    return worker


def _start_is_waiting(study: Study) -> bool:
    from optuna.trial import TrialState

    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return any(trial.user_attrs.get("start") for trial in waiting)
