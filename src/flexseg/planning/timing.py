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
from flexseg.models.package import ModelPackage
from flexseg.training.compiling import compile_model
from flexseg.training.memory import release
from flexseg.training.supervision import supervised

_WARM_UP = 2
_STEPS = 5


@dataclass(frozen=True)
class StepTime:
    """What a step of a training costs.

    Attributes
    ----------
    seconds : median of a step of `batch` images.
    fastest : the fastest one, which other load on the machine changes least.
    validation : of a validation step of as many images.
    starting : seconds for building and compiling, before the first step is done.
    """

    seconds: float
    fastest: float
    validation: float
    starting: float
    batch: int
    parameters: int


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
    seconds = [_time(lambda: network.train_on_batch(x, y)) for _ in range(steps)]
    validation = [_time(lambda: network.test_on_batch(x, y)) for _ in range(2)]
    parameters = package.model.count_params()
    release()
    keras.utils.clear_session()
    fastest, usual = min(seconds), statistics.median(seconds)
    return StepTime(usual, fastest, min(validation), starting, batch, parameters)


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
