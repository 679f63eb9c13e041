"""What happens when a training gets no better: a lower learning rate, then its end."""

from __future__ import annotations

import keras

from flexseg.config.train import TrainConfig
from flexseg.training.callbacks.checkpointer import Remembered


def plateau_callbacks(
    train: TrainConfig, monitor: str, remember: Remembered
) -> list[keras.callbacks.Callback]:
    """The callbacks that a config asks for; what they remember is added to `remember`.

    Parameters
    ----------
    monitor : name of the loss that they watch.
    """
    callbacks: list[keras.callbacks.Callback] = []
    if train.learning_rate_reducer and train.schedule == "constant":
        reducer = keras.callbacks.ReduceLROnPlateau(
            monitor=monitor,
            factor=train.reducer_factor,
            patience=train.reducer_patience,
            min_lr=0.0,
        )
        remember["reducer"] = (reducer, ("wait", "best", "cooldown_counter"))
        callbacks.append(reducer)
    # Whenever the rate rises again, the network gets worse for a while.
    if train.patience > 0 and train.snapshots == 1:
        stopper = keras.callbacks.EarlyStopping(monitor=monitor, patience=train.patience)
        remember["stopper"] = (stopper, ("wait", "best", "best_epoch"))
        callbacks.append(stopper)
    return callbacks
