"""Optimizers by the names of the configs; Keras finds them in files of models."""

from __future__ import annotations

from typing import Any

import keras

from flexseg.config.model import ModelConfig


class _KeepsWeights:
    """An optimizer that never puts the averaged weights into the network by itself.

    Keras does so at the end of each `fit`, of which a resumed training has two.
    """

    def finalize_variable_values(self, var_list: Any) -> None:
        """Leave the variables as they are; `AveragedWeights` swaps them."""


@keras.saving.register_keras_serializable("flexseg")
class FusedAdam(_KeepsWeights, keras.optimizers.Adam):
    """Adam whose update is one pass over the weights on TensorFlow.

    Keras' own makes a dozen passes with temporary arrays of the weights' size, which on a CPU
    take a fifth of a step of the seeds' network. The formula is the same (Kingma 2015).
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change one variable and its moments."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )


@keras.saving.register_keras_serializable("flexseg")
class FusedAdamW(FusedAdam, keras.optimizers.AdamW):
    """AdamW (Loshchilov 2019): Keras decays the weights, the step is that of Adam."""


@keras.saving.register_keras_serializable("flexseg")
class SGD(_KeepsWeights, keras.optimizers.SGD):
    """Keras' SGD."""


def _handle(variable: Any) -> Any:
    """TensorFlow's handle of a variable, which Keras may have wrapped."""
    return getattr(variable, "_value", variable).handle


def make_optimizer(config: ModelConfig, ema: float = 0.0) -> keras.optimizers.Optimizer:
    """The optimizer of a config: Adam, AdamW, or SGD with Nesterov momentum 0.99 (nnU-Net's).

    Parameters
    ----------
    ema : decay per step of the moving average of the weights; 0: none is kept.
    """
    keys: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "clipvalue": config.clipvalue,
    }
    if ema:
        keys |= {"use_ema": True, "ema_momentum": ema}
    if config.optimizer == "SGD":
        return SGD(momentum=0.99, nesterov=True, name="sgd", **keys)
    kind = FusedAdam if config.optimizer == "Adam" else FusedAdamW
    return kind(name=config.optimizer.lower(), **keys)
