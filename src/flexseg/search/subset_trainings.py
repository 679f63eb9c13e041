"""Trainings on nested parts of the training cases, each scored on the same validation cases.

One process does them one after the other and writes down each that is finished; `Advisor` watches
over it.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.division.dividing import CaseTable, nested_cases
from flexseg.dataset.division.splits import Splits
from flexseg.errors import DataError, FlexsegError, ResourceError, TrainingError
from flexseg.execution.child_processes import begin_worker
from flexseg.forecast.scored_cases import dice_of, matrix_of, unit_of
from flexseg.forecast.statement import Measured
from flexseg.outputs import make_folder, write_text
from flexseg.search.short_training import load_into
from flexseg.training.at_once.quiet import load_engine, quietly

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

logger = logging.getLogger(__name__)

FILE_NAME = "trainings.jsonl"
# Folder of the training that runs.
TRAINING = "training"
# Shares of the training cases, and of the steps that the full time allows, in the order in which
# they tell most. The last two refine the curves.
_ROUND = ((1.0, 1.0), (0.25, 1.0), (0.5, 1.0), (1.0, 0.25), (1.0, 0.5), (0.125, 1.0))
# Fewer cases make no training.
_FEWEST = 2
# A training takes so much longer than its time, before one was measured.
_OVERHEAD = 0.1

# Problem, fix, place and exit code of an error.
Failure = tuple[str, str, str | None, int]


@dataclass(frozen=True)
class Task:
    """One training that is to be done.

    Attributes
    ----------
    draw : number of the draw of cases, and of the seed.
    share, steps : of the training cases, and of the steps that the full time allows.
    """

    draw: int
    share: float
    steps: float


@dataclass(frozen=True)
class Outcome:
    """A finished training; it `took` so many seconds with its scores."""

    task: Task
    took: float
    measured: Measured


_OUTCOME = TypeAdapter(Outcome)


def read_outcomes(path: Path) -> list[Outcome]:
    """The finished trainings, none without the file.

    Raises
    ------
    DataError : the file is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [_OUTCOME.validate_json(line) for line in lines if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(
            f"The list of finished trainings cannot be read ({type(error).__name__}).",
            "Restore it, or start over with --fresh: it is moved aside.",
            str(path),
        ) from None


def add_outcome(path: Path, outcome: Outcome) -> None:
    """Write down a finished training, one JSON line each; the file is always whole."""
    lines = [*read_outcomes(path), outcome]
    write_text(path, "".join(json.dumps(asdict(one)) + "\n" for one in lines))


def shares_of(cases: int) -> list[float]:
    """The shares of a number of cases that are worth a training, falling."""
    numbers = {round(share * cases): share for share, _ in _ROUND}
    return sorted((share for n, share in numbers.items() if n >= _FEWEST), reverse=True)


def tasks(cases: int) -> Iterator[Task]:
    """All trainings in their order, without end: draw after draw."""
    shares, draw = shares_of(cases), 0
    while True:
        yield from (Task(draw, share, steps) for share, steps in _ROUND if share in shares)
        draw += 1


def cost_of_draw(cases: int) -> float:
    """How many full times the trainings of a draw take."""
    shares = shares_of(cases)
    return sum(steps for share, steps in _ROUND if share in shares)


@dataclass(frozen=True)
class SubsetJob:
    """What the process must know.

    Attributes
    ----------
    folder : of the list of finished trainings.
    backend : engine that it loads before the first training.
    table : of the training cases.
    volumes : the cases are slices, and their volumes count.
    seconds : of a training in full time.
    deadline : `time.time()` at which the last training must be done.
    """

    config: Path
    overrides: tuple[str, ...]
    folder: Path
    backend: str
    table: CaseTable
    valid: tuple[Case, ...]
    volumes: bool
    seconds: float
    deadline: float
    seed: int

    @property
    def units(self) -> int:
        """Training cases; of slices their volumes."""
        return len({unit_of(case, volumes=self.volumes) for case in self.table.cases})

    def seconds_of(self, task: Task, done: Sequence[Outcome]) -> float:
        """The time of a training: what passes before the first step, and its share of the rest."""
        began = float(np.median([one.measured.began for one in done])) if done else 0.0
        return began + task.steps * max(0.0, self.seconds - began)

    def next_task(self, done: Sequence[Outcome]) -> Task | None:
        """The next training of a draw for which there is time, None if there is none."""
        known = {one.task for one in done}
        first = next(task for task in tasks(self.units) if task not in known)
        more = [one.took - one.measured.seconds for one in done]
        # All others are told by one on all cases in full time.
        draw = [Task(first.draw, *one) for one in _ROUND] if done else [first]
        for task in draw:
            if task in known or task.share not in shares_of(self.units):
                continue
            seconds = self.seconds_of(task, done)
            extra = max(more, default=_OVERHEAD * seconds)
            if time.time() + seconds + extra <= self.deadline:
                return task
        return None


def work(job: SubsetJob, failures: SimpleQueue[Failure]) -> None:
    """Train until there is no time for another one, in a process of its own."""
    begin_worker()
    try:
        load_engine(job.backend)
        while (task := job.next_task(done := read_outcomes(job.folder / FILE_NAME))) is not None:
            add_outcome(job.folder / FILE_NAME, _done(job, task, done))
    except FlexsegError as error:
        _end(failures, error)
    except MemoryError:
        fix = "Use smaller batches or a smaller network."
        _end(failures, ResourceError("There was not enough memory.", fix, str(job.config)))
    except Exception as error:  # engines fail in many ways
        logger.debug("training", exc_info=True)
        first = (str(error).strip().splitlines() or [""])[0][:300]
        fix = "Run `flexseg train` with this config to see why."
        _end(failures, TrainingError(f"{type(error).__name__}: {first}", fix, str(job.config)))


def _end(failures: SimpleQueue[Failure], error: FlexsegError) -> None:
    """End the process, its error told."""
    failures.put((error.problem, error.fix, error.where, error.exit_code))
    sys.exit(error.exit_code)


def _done(job: SubsetJob, task: Task, done: Sequence[Outcome]) -> Outcome:
    shares = shares_of(job.units)
    parts = nested_cases(job.table, shares, job.seed + task.draw)
    cases = parts[shares.index(task.share)]
    seconds = job.seconds_of(task, done)
    return train_on(job, task, cases, seconds)


def train_on(job: SubsetJob, task: Task, cases: tuple[Case, ...], seconds: float) -> Outcome:
    """Train on some of the cases, and score what came of it.

    Raises
    ------
    FlexsegError : anything that the user can act on.
    """
    from flexseg.search.epoch_report import StepCounter
    from flexseg.training.trainer import Training

    folder = job.folder / TRAINING
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    overrides = [
        *job.overrides, f"train.seed={job.seed + task.draw}", "train.snapshots=1",
        "infer.engine=keras",
    ]  # fmt: skip
    loaded = load_into(job.config, overrides, folder, seconds / 60)
    started = time.monotonic()
    counter = StepCounter(started)
    with quietly(folder) as console:
        training = Training(loaded, console, Splits({"train": cases, "valid": job.valid}), started)
        training.callbacks.append(counter)
        training.onnx = False  # only its scores are kept
        training.run()
        dice = scores_of(loaded, job.valid, volumes=job.volumes)
    if not dice:
        raise TrainingError(
            "No validation case shows a class.",
            "Give other validation cases: [valid] images_dir.",
            str(job.config),
        )
    with suppress(OSError):
        shutil.rmtree(folder)
    units = {unit_of(case, volumes=job.volumes) for case in cases}
    measured = Measured(
        len(units),
        round(seconds, 2),
        round(counter.began, 2),
        counter.steps,
        {name: round(value, 5) for name, value in dice.items()},
    )
    return Outcome(task, round(time.monotonic() - started, 2), measured)


def scores_of(loaded: LoadedConfig, cases: Sequence[Case], *, volumes: bool) -> dict[str, float]:
    """Case or volume -> mean Dice of the classes that are there or were predicted."""
    from flexseg.batches.store import CaseReader
    from flexseg.inference.loading import make_predictor
    from flexseg.inference.sliding_window import as_trained

    e = loaded.experiment
    predictor = as_trained(make_predictor(loaded, tuned=False), e.tiledinfer)
    package = predictor.package
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    truths: list[NDArray[np.uint8]] = []

    def images() -> Iterator[tuple[str, NDArray]]:
        for case in cases:
            image, labels = reader.native(case)
            truths.append(labels)
            yield str(case.image), image

    classes = len(package.labels.classes)
    totals: dict[str, NDArray[np.int64]] = {}
    for case, (_, _, p) in zip(cases, predictor.probabilities(images()), strict=True):
        name = unit_of(case, volumes=volumes)
        matrix = matrix_of(truths.pop(0), predictor.postprocess(predictor.labels(p)), classes)
        totals[name] = totals.get(name, 0) + matrix
    found = {name: dice_of(matrix) for name, matrix in totals.items()}
    return {name: dice for name, dice in found.items() if np.isfinite(dice)}
