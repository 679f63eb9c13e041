"""The average of weights over the last steps, which is steadier than the last weights.

References
----------
Polyak, Juditsky: Acceleration of stochastic approximation by averaging. SIAM 1992.
"""

from __future__ import annotations

import keras
from keras import ops

from flexseg.backend import Logs


class AveragedWeights(keras.callbacks.Callback):
    """Has the averaged weights in the network while it is validated and kept, and only then.

    The optimizer keeps the average (its `use_ema`). Statistics of batch normalisation are
    averages by themselves, and stay. The callbacks between this one and `after` see the averaged
    weights at the end of an epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inside = False
        self.after = _Leave(self)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self.enter()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.enter()

    def enter(self) -> None:
        """Put the average into the network, and its weights aside."""
        if not self.inside:
            self._swap()
            self.inside = True

    def leave(self) -> None:
        """Put the weights back that training goes on with."""
        if self.inside:
            self._swap()
            self.inside = False

    def _swap(self) -> None:
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        # Keras has no public name for the averages.
        averages = optimizer._model_variables_moving_average
        for variable, average in zip(optimizer._trainable_variables, averages, strict=True):
            now = ops.copy(ops.convert_to_tensor(variable))
            variable.assign(average)
            average.assign(now)


class _Leave(keras.callbacks.Callback):
    """The end of the place in the list of callbacks where weights are averaged."""

    def __init__(self, averaged: AveragedWeights) -> None:
        super().__init__()
        self.averaged = averaged

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.averaged.leave()
