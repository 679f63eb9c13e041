"""Building blocks that the networks share. Tensors are channels-last [B, H, W, C]."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from flexseg.errors import ConfigError


@keras.saving.register_keras_serializable("flexseg")
def mish(x: Any) -> Any:
    """x tanh(softplus(x)); Misra 2019, "Mish: a self regularized non-monotonic activation"."""
    return x * ops.tanh(ops.softplus(x))


@keras.saving.register_keras_serializable("flexseg")
class Standardize(keras.layers.Layer):
    """Each image to mean 0 and variance 1, over pixels and channels, in float32.

    A constant image becomes 0.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32"} | kwargs))

    def call(self, x: Any) -> Any:
        """[B, H, W, C] to the same shape."""
        x = ops.cast(x, "float32")
        mean = ops.mean(x, axis=(1, 2, 3), keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=(1, 2, 3), keepdims=True)
        return (x - mean) / ops.sqrt(variance + 1e-6)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape


def activation(name: str) -> Any:
    """An activation by name: "mish" or any of Keras.

    Raises
    ------
    ConfigError : there is none of that name.
    """
    if name.lower() == "mish":
        return mish
    try:
        return keras.activations.get(name.lower())
    except ValueError:
        raise ConfigError(
            f"{name!r} is no activation.", "Use relu, mish, elu, gelu, leaky_relu, ...", "[model]"
        ) from None


def scale_input(x: Any, mode: bool | str) -> Any:
    """The first layer of a network: pixels 0..255 as they are, as 0..1, or standardised."""
    if mode == "standardize":
        return Standardize(name="standardize")(x)
    if mode:
        return keras.layers.Rescaling(1.0 / 255, name="rescale", dtype="float32")(x)
    return x


def segmentation_head(x: Any, classes: int, final_activation: str, *, kernel: int = 1) -> Any:
    """Class probabilities [B, H, W, C] in float32, whatever the precision of the rest.

    Softmax over several classes; `final_activation` (sigmoid) for one.
    """
    function = activation("softmax" if classes > 1 else final_activation)
    logits = keras.layers.Conv2D(classes, kernel, padding="same", name="logits")(x)
    return keras.layers.Activation(function, dtype="float32", name="probabilities")(logits)
