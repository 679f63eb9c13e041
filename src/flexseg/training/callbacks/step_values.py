"""What happens around the steps of a training: Keras callbacks of our own.

The values of a step are arrays on the device, and a device that works asynchronously has not
computed them yet when a callback gets them. Reading one makes the host wait until it has, and the
device then waits for the host: nothing here reads one more often than every `SECONDS`.
"""

from __future__ import annotations

import keras

from flexseg.backend import Logs, Tensor
from flexseg.batches.batch_dataset import BatchDataset

# Between two looks at the values of steps.
SECONDS = 1.0


class StepCallbacks(keras.callbacks.CallbackList):
    """Callbacks of a `fit` that hands them the values of a step as they are.

    Keras' own list turns every value into a number at every step.
    """

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_test_batch_end(batch, logs)


def number(value: Tensor) -> float:
    """A value of a step as a number; waits until it is computed."""
    return float(keras.ops.convert_to_numpy(value))


class EpochSetter(keras.callbacks.Callback):
    """Tells the batches which epoch it is; the first may start in its middle."""

    def __init__(self, dataset: BatchDataset, first_epoch: int, first_batch: int) -> None:
        super().__init__()
        self.dataset = dataset
        self.first = (first_epoch, first_batch)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        start = self.first[1] if epoch == self.first[0] else 0
        self.dataset.set_epoch(epoch, start)
