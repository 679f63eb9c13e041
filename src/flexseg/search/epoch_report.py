"""Keras callbacks that tell a search how its trainings do."""

from __future__ import annotations

import time

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


class StepCounter(keras.callbacks.Callback):
    """Counts the steps of a training.

    Parameters
    ----------
    started : `time.monotonic()` of when the training began.

    Attributes
    ----------
    began : seconds until its first step was done.
    """

    def __init__(self, started: float) -> None:
        super().__init__()
        self.started = started
        self.steps = 0
        self.began = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not self.steps:
            self.began = time.monotonic() - self.started
        self.steps += 1
