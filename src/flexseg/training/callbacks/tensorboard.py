"""Logs for TensorBoard."""

from __future__ import annotations

import importlib.util

import keras

from flexseg.config.train import TrainConfig
from flexseg.errors import ConfigError
from flexseg.machine import pip_install


def require_tensorboard() -> None:
    """Raise ConfigError if TensorBoard logs cannot be written."""
    missing = [n for n in ("tensorboard", "tensorflow") if importlib.util.find_spec(n) is None]
    if missing:
        raise ConfigError(
            f"TensorBoard logs were asked for, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed.",
            f"Install it: {pip_install('tensorboard')}, or set train.tensorboard to false.",
            "[train] tensorboard",
        )


def tensorboard_callbacks(train: TrainConfig) -> list[keras.callbacks.Callback]:
    """The callback that writes them, if the config asks for them."""
    if not train.tensorboard:
        return []
    require_tensorboard()
    return [keras.callbacks.TensorBoard(str(train.eval_dir / "tensorboard"))]
