"""How long a training step of a config takes on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from flexseg import backend
from flexseg.config.schema import Experiment
from flexseg.machine import taken_by_others
from flexseg.models.package import ModelPackage
from flexseg.training.compiling import compile_model
from flexseg.training.memory import release
from flexseg.training.supervision import supervised

_WARM_UP = 2
_STEPS = 5
# Where other programs take more than this share of the processor, steps are measured again, so
# often at most.
_BUSY = 0.2
_ATTEMPTS = 3


@dataclass(frozen=True)
class StepTime:
    """What a step of a training costs.

    Attributes
    ----------
    seconds : median of a step of `batch` images.
    fastest : the fastest one, which other load on the machine changes least.
    validation : of a validation step of as many images.
    starting : seconds for building and compiling, before the first step is done.
    others : share of the processor that other programs took meanwhile; 0 where a GPU computes.
    """

    seconds: float
    fastest: float
    validation: float
    starting: float
    batch: int
    parameters: int
    others: float = 0.0

    @property
    def busy(self) -> str:
        """That other programs were busy, for people; "" where they were not."""
        if self.others <= _BUSY:
            return ""
        return (
            f"other programs took {100 * self.others:.0f} % of the processor while this was "
            "measured"
        )


@dataclass(frozen=True)
class MeasuredSteps:
    """Seconds of some steps, and the share of the processor that other programs took."""

    seconds: list[float]
    others: float


def least_disturbed(measure: Callable[[], MeasuredSteps]) -> MeasuredSteps:
    """The fastest of a few measurements, or the first that nothing disturbed."""
    found = []
    for _ in range(_ATTEMPTS):
        found.append(measure())
        if found[-1].others <= _BUSY:
            break
    return min(found, key=lambda measured: statistics.median(measured.seconds))


def time_step(experiment: Experiment, steps: int = _STEPS) -> StepTime:
    """Measure steps of the config's network on random images of its size.

    Raises
    ------
    ConfigError : the network cannot be built.
    """
    model, train = experiment.model, experiment.train
    backend.keep_freed_memory()
    backend.prepare(train.precision, train.seed, train.deterministic)
    began = time.perf_counter()
    package = ModelPackage.create(experiment)
    network = supervised(package.model, model, train.deep_supervision)
    compile_model(network, model, train.ema, ignoring=experiment.class_sections.ignores)
    batch = 8 if train.batch_size == "auto" else train.batch_size
    rng = np.random.default_rng(0)
    shape = (batch, model.image_height, model.image_width)
    x = rng.integers(0, 256, (*shape, model.image_channels), np.uint8)
    y = rng.integers(0, max(2, model.num_classes), shape, np.uint8)
    _time(lambda: network.train_on_batch(x, y))
    _time(lambda: network.test_on_batch(x, y))
    starting = time.perf_counter() - began
    for _ in range(_WARM_UP):
        network.train_on_batch(x, y)
    on_cpu = backend.accelerator() is None

    def measure() -> MeasuredSteps:
        seconds = [_time(lambda: network.train_on_batch(x, y)) for _ in range(steps)]
        return MeasuredSteps(seconds, taken_by_others() if on_cpu else 0.0)

    measured = least_disturbed(measure)
    validation = [_time(lambda: network.test_on_batch(x, y)) for _ in range(2)]
    parameters = package.model.count_params()
    release()
    keras.utils.clear_session()
    fastest, usual = min(measured.seconds), statistics.median(measured.seconds)
    return StepTime(usual, fastest, min(validation), starting, batch, parameters, measured.others)


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
