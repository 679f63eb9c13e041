"""What ends a training early, or tells that it came to nothing."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from flexseg.backend import Logs
from flexseg.batches.batch_dataset import BatchDataset
from flexseg.errors import TrainingError
from flexseg.training.callbacks.step_values import SECONDS, number

logger = logging.getLogger(__name__)

STOP_FILE = "break_training"
# After so many epochs without any change in the validation it is no coincidence.
_STANDSTILL = 3


class NanGuard(keras.callbacks.Callback):
    """Stops at a loss that is not finite, and names the files of the first such batch.

    It looks every `SECONDS` and at the end of an epoch. Keras' loss is the mean over the epoch so
    far: once it is not finite, it stays so.
    """

    def __init__(self, dataset: BatchDataset) -> None:
        super().__init__()
        self.dataset = dataset
        self._unread: list[tuple[int, Any]] = []
        self._looked = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._unread.clear()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._unread.append((batch, (logs or {}).get("loss", 0.0)))
        last = batch + 1 >= self.dataset.num_batches
        if last or time.monotonic() - self._looked > SECONDS:
            self.look()
            self._looked = time.monotonic()

    def look(self) -> None:
        """Read the newest loss, and those before it only where it is not finite."""
        unread, self._unread = self._unread, []
        if not unread or math.isfinite(number(unread[-1][1])):
            return
        batch, loss = next((b, v) for b, v in unread if not math.isfinite(number(v)))
        cases = self.dataset.cases_of(self.dataset.start + batch)
        files = ", ".join(str(case.image) for case in cases)
        raise TrainingError(
            f"The loss became {number(loss)} in epoch {self.dataset.epoch + 1}, batch "
            f"{self.dataset.start + batch + 1}; the images of this batch: {files}.",
            "Look at these files; a lower learning_rate, a smaller clipvalue, input_normalize or "
            "precision = 'float32' usually helps.",
        )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.look()  # the clock may end an epoch at any batch
        loss = float((logs or {}).get("val_loss", 0.0))
        if not math.isfinite(loss):
            raise TrainingError(
                f"The validation loss became {loss} in epoch {epoch + 1}.",
                "Look at the validation images; a lower learning_rate, a smaller clipvalue or "
                "precision = 'float32' usually helps.",
            )


class StopFile(keras.callbacks.Callback):
    """Ends the training after the epoch in which a file `break_training` appeared."""

    def __init__(self, folders: list[Path]) -> None:
        super().__init__()
        self.files = sorted({folder / STOP_FILE for folder in folders})
        self.started = time.time()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for file in self.files:
            if file.exists() and file.stat().st_mtime >= self.started - 1:
                logger.info("%s exists: training ends after epoch %d.", file, epoch + 1)
                self.model.stop_training = True


def warn_of_standstill(history: Mapping[str, Sequence[float]]) -> None:
    """Tell that nothing was learned: the validation was the same after every epoch.

    Parameters
    ----------
    history : values of each epoch by name.
    """
    losses = history.get("val_loss", ())
    if len(losses) >= _STANDSTILL and max(losses) - min(losses) < 1e-5:
        logger.warning(
            "val_loss was %.4f after each of %d epochs: the network marks the same (nothing, or "
            "everything) in all images. More steps, another learning_rate, or [model] "
            'input_normalize = "standardize" usually helps.',
            losses[0],
            len(losses),
        )
