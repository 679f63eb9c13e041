"""What more cases or more time would bring, and which cases fail: from trainings in a given time.

The test set takes no part.
"""

from __future__ import annotations

import csv
import logging
import multiprocessing
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flexseg.batches.store import CaseReader
from flexseg.config.durations import format_duration
from flexseg.config.findings import amount
from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.division.dividing import CaseTable
from flexseg.dataset.division.splits import Splits
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import look_at, read_cases
from flexseg.errors import (
    ConfigError,
    DataError,
    FlexsegError,
    Interrupted,
    ResourceError,
    TrainingError,
)
from flexseg.files.json_file import read_json
from flexseg.files.preprocess import Preprocessing
from flexseg.forecast.curve_picture import draw_learning_curve
from flexseg.forecast.failing_groups import ScoredCase
from flexseg.forecast.scored_cases import look_at_cases, unit_of
from flexseg.forecast.statement import (
    PICTURE_NAME,
    Advice,
    Scored,
    Subject,
    make_advice,
)
from flexseg.one_writer import exclusive
from flexseg.outputs import make_folder, set_aside, write_json
from flexseg.own_results import mark
from flexseg.runs.folds import FILE_NAME as FOLDS_FILE
from flexseg.runs.given import ADVICE, CASES, EVALUATION
from flexseg.search.fixed_values import fixed_values
from flexseg.search.short_training import splits_to_learn
from flexseg.search.subset_trainings import (
    FILE_NAME,
    TRAINING,
    Failure,
    Outcome,
    SubsetJob,
    cost_of_draw,
    read_outcomes,
    shares_of,
    work,
)

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess
    from multiprocessing.queues import SimpleQueue

logger = logging.getLogger(__name__)

COMMON_NAME = "common.json"
# For the engine, and for what comes after the trainings, in seconds.
_STARTING, _ENDING = 10.0, 4.0
# Of what is left, trainings get this share: the rest is for scores.
_TRAINING = 0.85
# Several draws tell the noise between trainings, but longer trainings tell more of the real one.
_MOST_DRAWS, _LONG_ENOUGH, _SHORTEST = 3, 40.0, 3.0
_GOOD_BEGINNING = 600.0
_LOOK = 0.5
_OVERTIME = 0.03


@dataclass(frozen=True)
class Advised:
    """What was told, and where it lies."""

    advice: Advice
    folder: Path


class Advisor:
    """One advice, from its config to its files in `<run_dir>/advice`.

    Parameters
    ----------
    loaded : the config, read with `overrides`.
    seconds : for this command, all included.
    more : cases whose benefit is asked for.
    say : shows a line.
    started : `time.time()` of when `seconds` begin; without it now.
    target : what the process of the trainings does, see `work`.
    """

    def __init__(
        self,
        loaded: LoadedConfig,
        overrides: Sequence[str],
        seconds: float,
        *,
        backend: str,
        more: int = 40,
        say: Callable[[str], None] = logger.info,
        started: float | None = None,
        target: Callable[[SubsetJob, SimpleQueue[Failure]], None] = work,
    ) -> None:
        self.deadline = (time.time() if started is None else started) + seconds
        self.loaded = loaded
        self.overrides = tuple(overrides)
        self.seconds = seconds
        self.backend = backend
        self.more = more
        self.say = say
        self.target = target
        e = loaded.experiment
        self.run_dir = e.train.run_dir
        self.folder = self.run_dir / ADVICE
        self.volumes = e.volume.images_dir is not None
        self.labels = LabelMap.from_config(e.class_sections)

    def run(
        self, *, fresh: bool = False, on_time: Callable[[float, int], None] | None = None
    ) -> Advised:
        """Train until the time is over, then tell; finished trainings of the folder count.

        Parameters
        ----------
        fresh : move an earlier advice aside.
        on_time : called with (seconds so far, seconds in all).

        Raises
        ------
        InUseError : another program trains in the folder.
        FlexsegError : anything that the user can act on; `Interrupted` after Ctrl-C.
        """
        splits = splits_to_learn(self.loaded.experiment.data)
        with exclusive(self.run_dir, self.folder):
            if fresh:
                set_aside(self.folder)
            make_folder(self.folder)
            mark(self.folder, "advise")
            table = self._table(splits.need("train"))
            looks = self._looks(splits.need("valid"))
            job = self._job(table, splits)
            self._compare(splits, job.seconds)
            self._tell_plan(job)
            self._watch(job, on_time)
            return self._advise(job, looks, splits)

    def _table(self, cases: tuple[Case, ...]) -> CaseTable:
        looks = read_cases(cases, look=lambda case: look_at(case, self.labels))
        for look in looks:
            for problem in look.problems:
                raise problem
        return CaseTable.of_looks(looks, self.labels)

    def _looks(self, cases: tuple[Case, ...]) -> dict[str, ScoredCase]:
        e = self.loaded.experiment
        preprocessing = Preprocessing.from_config(
            e.model, e.image, e.volume, e.dataset.resize_interpolation
        )
        reader = CaseReader(preprocessing, self.labels, e.mask.unknown_colors)
        return look_at_cases(cases, reader, volumes=self.volumes)

    def _job(self, table: CaseTable, splits: Splits) -> SubsetJob:
        units = len({unit_of(case, volumes=self.volumes) for case in table.cases})
        if len(shares_of(units)) < 2:
            raise ConfigError(
                f"{amount(units, 'training case')} cannot be reduced further.",
                "Give at least 3 cases to train on.",
                "[train] images_dir",
            )
        return SubsetJob(
            self.loaded.path,
            self.overrides,
            self.folder,
            self.backend,
            table,
            splits.need("valid"),
            self.volumes,
            self._seconds_of_one(units),
            self.deadline - _ENDING,
            self.loaded.experiment.train.seed,
        )

    def _seconds_of_one(self, units: int) -> float:
        """Of a training in full time: as before, or what the time allows."""
        known = self._noted().get("seconds")
        left = self.deadline - time.time() - _ENDING - _STARTING
        if isinstance(known, float):
            return known
        of_draw = _TRAINING * left / cost_of_draw(units)
        draws = max(1, min(_MOST_DRAWS, int(of_draw / _LONG_ENOUGH)))
        seconds = of_draw / draws
        if minutes := self.loaded.experiment.train.minutes:
            seconds = min(seconds, 60 * minutes)
        if seconds < _SHORTEST:
            needed = _SHORTEST * cost_of_draw(units) / _TRAINING
            least = 2 * (self.seconds - left + needed)
            better = "; 10m is a good start" if least < _GOOD_BEGINNING else ""
            raise ConfigError(
                f"{format_duration(self.seconds)} is too short: each training would have "
                f"{max(0.0, seconds):.1f} s.",
                f"Give at least --time {format_duration(max(60.0, least))}{better}.",
                "--time",
            )
        return round(seconds, 1)

    def _noted(self) -> dict[str, object]:
        try:
            content = read_json(self.folder / COMMON_NAME)
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _compare(self, splits: Splits, seconds: float) -> None:
        """Note what the trainings have in common, or compare it with what was noted.

        Raises
        ------
        ConfigError : the scores would not compare.
        """
        now = fixed_values(self.loaded.experiment, splits)
        now |= {"seconds": seconds, "--backend": self.backend}
        before = self._noted()
        if not before:
            write_json(self.folder / COMMON_NAME, now)
            return
        changed = sorted(k for k in now.keys() | before.keys() if now.get(k) != before.get(k))
        if changed:
            raise ConfigError(
                f"The trainings here had other values of: {', '.join(changed)}.",
                "Restore them, or start over with --fresh: the old trainings are moved aside.",
                str(self.folder / COMMON_NAME),
            )

    def _tell_plan(self, job: SubsetJob) -> None:
        sizes = ", ".join(str(round(share * job.units)) for share in shares_of(job.units))
        what = "volumes" if self.volumes else "cases"
        self.say(
            f"Trainings of {format_duration(job.seconds)} on {sizes} {what}, and shorter ones on "
            f"all, as many as {format_duration(self.seconds)} allows; validation on "
            f"{len({unit_of(case, volumes=self.volumes) for case in job.valid})}."
        )
        if done := len(read_outcomes(self.folder / FILE_NAME)):
            self.say(
                f"{amount(done, 'training')} of an earlier command "
                f"{'counts' if done == 1 else 'count'}."
            )

    def _watch(self, job: SubsetJob, on_time: Callable[[float, int], None] | None) -> None:
        """Run the process, and tell of each training that is done."""
        context = multiprocessing.get_context("spawn")
        failures: SimpleQueue[Failure] = context.SimpleQueue()
        process = context.Process(target=self.target, args=(job, failures))
        known = before = len(read_outcomes(self.folder / FILE_NAME))
        process.start()
        hard_stop = self.deadline + _OVERTIME * self.seconds
        try:
            while process.is_alive() and time.time() < hard_stop:
                process.join(_LOOK)
                if on_time is not None:
                    left = max(0.0, self.deadline - time.time())
                    on_time(self.seconds - left, round(self.seconds))
                known = self._tell_new(known)
            if self._tell_new(known) == before:
                self.say("There was no time for a further training.")
            if process.is_alive():
                logger.warning("The time is over: the training that is still running is ended.")
            elif process.exitcode:
                raise _why(failures, process)
        except KeyboardInterrupt:
            raise Interrupted(
                "The trainings were stopped; finished ones are kept.",
                "Run the same command again to continue.",
            ) from None
        finally:
            if process.is_alive():
                process.kill()
                process.join()
            shutil.rmtree(self.folder / TRAINING, ignore_errors=True)

    def _tell_new(self, known: int) -> int:
        done = read_outcomes(self.folder / FILE_NAME)
        for outcome in done[known:]:
            self.say(_line(outcome, len(done), volumes=self.volumes))
        return len(done)

    def _advise(self, job: SubsetJob, looks: Mapping[str, ScoredCase], splits: Splits) -> Advised:
        done = read_outcomes(self.folder / FILE_NAME)
        if not any(one.task.share == one.task.steps == 1 for one in done):
            raise ConfigError(
                "There was no time for a training on all cases.",
                "Run the same command again to continue, or start over with --fresh and a longer "
                "--time.",
                "--time",
            )
        subject = Subject(job.units, self.volumes, self.loaded.experiment.train.minutes, self.more)
        scored = self._scored_before(looks, splits)
        trainings = [one.measured for one in done]
        advice, curve = make_advice(subject, trainings, looks, scored, job.seed)
        advice.write(self.folder)
        if advice.is_curve:
            draw_learning_curve(self.folder / PICTURE_NAME, advice, curve)
        return Advised(advice, self.folder)

    def _scored_before(self, looks: Mapping[str, ScoredCase], splits: Splits) -> Scored | None:
        """The scores of the trained run: of all cases by cross-validation, else of the validation
        cases; None if there are none."""
        scores = _scores_of(self.run_dir / EVALUATION / CASES, volumes=self.volumes)
        if scores and scores.keys() <= looks.keys():
            return Scored("validation", _with_scores(looks, scores))
        cases = (*splits.need("train"), *splits.need("valid"))
        known = {unit_of(case, volumes=self.volumes) for case in cases}
        if not scores or not (self.run_dir / FOLDS_FILE).exists() or not scores.keys() <= known:
            return None
        return Scored("out-of-fold", _with_scores(self._looks(cases), scores))


def _with_scores(looks: Mapping[str, ScoredCase], scores: Mapping[str, float]) -> list[ScoredCase]:
    return [replace(look, dice=scores[n]) for n, look in looks.items() if n in scores]


def _scores_of(table: Path, *, volumes: bool) -> dict[str, float]:
    """Case (volumes: group) -> mean Dice of its classes, empty without an evaluation."""
    found: dict[str, list[float]] = {}
    try:
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row.get("dice"):
                    name = str(row["group" if volumes else "case"])
                    found.setdefault(name, []).append(float(row["dice"]))
    except (OSError, ValueError, KeyError, csv.Error):
        return {}
    return {name: float(np.mean(values)) for name, values in found.items()}


def _why(failures: SimpleQueue[Failure], process: SpawnProcess) -> FlexsegError:
    """What the process has ended by."""
    if not failures.empty():
        problem, fix, where, code = failures.get()
        kinds = {kind.exit_code: kind for kind in (ConfigError, DataError, ResourceError)}
        return kinds.get(code, TrainingError)(problem, fix, where)
    code = process.exitcode or 0
    reason = f"killed by signal {-code}, often for lack of memory" if code < 0 else f"code {code}"
    return TrainingError(
        f"The process of the trainings ended ({reason}).",
        "Run the same command again to continue; `flexseg train` with this config shows more.",
    )


def _line(outcome: Outcome, number: int, *, volumes: bool) -> str:
    """One training for the terminal."""
    m = outcome.measured
    dice = np.mean(list(m.dice.values()))
    what = amount(m.cases, "volume" if volumes else "case")
    return (
        f"training {number}: {what}, {format_duration(m.seconds)}, "
        f"{amount(m.steps, 'step')}: Dice {dice:.4f}"
    )
