"""Batch normalisation as one operation on TensorFlow.

Keras makes it of a dozen operations in float32, each of which writes an array of the size of
the features; on a CPU it takes twice as long as the convolutions of a small network. TensorFlow
has an operation for a whole normalisation, and another one for its gradient.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from flexseg.backend import Tensor


@keras.saving.register_keras_serializable("flexseg")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer (Ioffe 2015): same weights, same results but for rounding."""

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor = None) -> Tensor:
        """[B, H, W, C] to the same shape; training changes the moving statistics."""
        plain = self.axis in (-1, 3) and self.scale and self.center and not self.renorm
        if not plain or mask is not None or not _has_fused_operation(inputs):
            return super().call(inputs, training=training, mask=mask)
        gamma, beta = ops.cast(self.gamma, "float32"), ops.cast(self.beta, "float32")
        if not (training and self.trainable):
            statistics = self.moving_mean, self.moving_variance
            outputs = _fused(inputs, gamma, beta, self.epsilon, statistics)[0]
            return ops.cast(outputs, self.compute_dtype)
        outputs, mean, variance = _fused(inputs, gamma, beta, self.epsilon)
        # TensorFlow divides by one less than the number of values, Keras by the number.
        count = ops.cast(ops.prod(ops.shape(inputs)[:3]), "float32")
        variance = variance * (count - 1) / count
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)


def _has_fused_operation(x: Tensor) -> bool:
    return keras.backend.backend() == "tensorflow" and len(x.shape) == 4


def _fused(
    x: Tensor, gamma: Any, beta: Any, epsilon: float, statistics: tuple[Any, Any] | None = None
) -> tuple[Any, Any, Any]:
    """Normalised [B, H, W, C], and mean and variance [C] of the batch in float32."""
    import tensorflow as tf

    mean, variance = statistics or ([], [])
    result = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=gamma,
        offset=beta,
        mean=tf.convert_to_tensor(mean, tf.float32),
        variance=tf.convert_to_tensor(variance, tf.float32),
        epsilon=epsilon,
        is_training=statistics is None,
    )
    return result.y, result.batch_mean, result.batch_variance
