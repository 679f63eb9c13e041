"""Dropout that costs a CPU little."""

from __future__ import annotations

import keras

from flexseg.backend import Tensor

_STEPS = 2**16


@keras.saving.register_keras_serializable("flexseg")
class Dropout(keras.layers.Dropout):
    """Keras' layer (Srivastava 2014), on TensorFlow from 16 random bits per value.

    Keras draws 32 bits for each value and makes a float of them: a sixth of a training step of a
    small network. Two bytes know the rate to 1/65536, and values are scaled for the rate that is
    meant by them, so that their mean stays.
    """

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Some values 0 and the others larger while training, else `inputs`."""
        threshold = round(self.rate * _STEPS)
        plain = keras.backend.backend() != "tensorflow" or self.noise_shape is not None
        if plain or not training or not 0 < threshold < _STEPS:
            return super().call(inputs, training=training)
        import tensorflow as tf

        count = tf.size(inputs)
        pairs = tf.random.stateless_uniform(
            [(count + 1) // 2],
            tf.cast(self.seed_generator.next(), tf.int32),
            minval=None,
            maxval=None,
            dtype=tf.int32,
        )
        bits = tf.reshape(tf.bitcast(pairs, tf.uint16), [-1])[:count]
        kept = tf.reshape(bits >= tf.constant(threshold, tf.uint16), tf.shape(inputs))
        scale = tf.cast(_STEPS / (_STEPS - threshold), inputs.dtype)
        return tf.where(kept, inputs * scale, tf.zeros([], inputs.dtype))
