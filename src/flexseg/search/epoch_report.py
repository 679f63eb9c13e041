"""A Keras callback that tells a search how its trial does."""

from __future__ import annotations

import keras

from flexseg.search.trial_report import TrialReport


class EpochReport(keras.callbacks.Callback):
    """Passes each epoch's values on, and ends the training when the search says so."""

    def __init__(self, report: TrialReport) -> None:
        super().__init__()
        self.report = report

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.report.shall_stop():
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        if self.report.epoch(values):
            self.model.stop_training = True
