"""How the learning rate changes over a training, as a function of the share that is done."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import keras

from flexseg.backend import Logs

ScheduleName = Literal["constant", "polynomial", "cosine"]
# Where a warm-up begins, as a share of the highest rate.
_START = 0.04
_POWER = 0.9
# Smallest relative change that is worth setting a variable of the device.
_STEP = 0.005


def factor(name: ScheduleName, share: float, warmup: float = 0.0, cycles: int = 1) -> float:
    """What the highest learning rate is multiplied by, 0 to 1.

    Parameters
    ----------
    share : of the training that is done, 0 to 1.
    warmup : share of a cycle in which the rate rises from 4 % to its full height.
    cycles : how often the whole schedule is run through (Loshchilov 2017, SGDR).

    Notes
    -----
    After the warm-up, `polynomial` is (1 - s)^0.9 (Chen 2018, DeepLab; nnU-Net's), `cosine`
    (1 + cos(pi s)) / 2. A long warm-up with `cosine` is the one-cycle policy (Smith 2019) without
    its change of momentum.
    """
    place = min(max(share, 0.0), 1.0) * cycles
    s = 1.0 if place >= cycles else place % 1.0
    if s < warmup:
        return _START + (1 - _START) * s / warmup
    if name == "constant":
        return 1.0
    rest = (s - warmup) / (1 - warmup)
    return 0.5 * (1 + math.cos(math.pi * rest)) if name == "cosine" else (1 - rest) ** _POWER


class LearningRate(keras.callbacks.Callback):
    """Sets the learning rate before each step.

    Parameters
    ----------
    highest : the rate that the schedule is a share of.
    shape : share of the training that is done -> factor on the rate, see `factor`.
    done : tells the share of the training that is done before batch `batch` of this epoch.
    until : share from which on the rate is left to others.
    """

    def __init__(
        self,
        highest: float,
        shape: Callable[[float], float],
        done: Callable[[int], float],
        until: float = math.inf,
    ) -> None:
        super().__init__()
        self.highest = highest
        self.shape = shape
        self.done = done
        self.until = until
        self._current = math.nan

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._current = math.nan

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        share = self.done(batch)
        rate = self.highest * self.shape(share)
        if share >= self.until:
            # What was interrupted later has the rate that it had.
            if math.isnan(self._current) or self._current == rate:
                return
        elif abs(rate - self._current) <= _STEP * self._current:
            return
        if hasattr(self.model, "jax_state_sync"):
            # Between steps JAX keeps the variables elsewhere, and would forget the new rate.
            self.model.jax_state_sync()
        self.model.optimizer.learning_rate = rate
        self._current = rate
