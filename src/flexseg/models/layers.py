"""Building blocks that the networks share. Tensors are channels-last [B, H, W, C]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import ops

from flexseg.backend import Tensor
from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.model_file.contrast import EPSILON
from flexseg.models.convolution import Conv2D
from flexseg.models.normalization import BatchNormalization

# Keras' default of 0.99 needs hundreds of steps before validation sees sensible statistics;
# small medical datasets have that many in ten epochs. Trained weights are not affected.
BATCH_NORM_MOMENTUM = 0.9


@keras.saving.register_keras_serializable("flexseg")
def leaky_relu_001(x: Tensor) -> Tensor:
    """x where it is positive, else 0.01 x; Maas 2013.

    Keras' own `leaky_relu` has the slope 0.2, and files take any function of that name for it.
    """
    return keras.activations.leaky_relu(x, negative_slope=0.01)


@keras.saving.register_keras_serializable("flexseg")
class Standardize(keras.layers.Layer):
    """Each image to mean 0 and variance 1, in float32.

    A constant image (channel) becomes 0.

    Parameters
    ----------
    per_channel : each channel by itself, so that a tint of the whole image, as of a stain or a
        lamp, is gone; else over pixels and channels.
    """

    def __init__(self, per_channel: bool = False, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.per_channel = per_channel

    def call(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same shape."""
        axes = (1, 2) if self.per_channel else (1, 2, 3)
        x = ops.cast(x, "float32")
        mean = ops.mean(x, axis=axes, keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=axes, keepdims=True)
        return (x - mean) / ops.sqrt(variance + EPSILON)

    def get_config(self) -> dict[str, Any]:
        """What builds the layer again."""
        return super().get_config() | {"per_channel": self.per_channel}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape


def standardized_deviations(model: keras.Model) -> int:
    """By how many deviations a network divides its input: one, one a channel, or none (0)."""
    for layer in model.layers:
        if isinstance(layer, Standardize):
            return int(model.input_shape[-1]) if layer.per_channel else 1
    return 0


def activation(name: str, where: str = "[model]") -> Any:
    """An activation of Keras by name.

    Raises
    ------
    ConfigError : there is none of that name.
    """
    try:
        return keras.activations.get(name.lower())
    except ValueError:
        raise ConfigError(
            f"{name!r} is not an activation.", "Use relu, mish, elu, gelu, leaky_relu, ...", where
        ) from None


def network_input(config: ModelConfig, multiple: int = 1) -> tuple[Tensor, Tensor]:
    """A network's input [B, H, W, C] (0..255), and the tensor that its first block sees.

    The latter is scaled as `input_normalize` says, and padded with zeros on all sides to
    heights and widths that are multiples of `multiple`; `segmentation_head` crops them away.
    """
    inputs = keras.Input((config.image_height, config.image_width, config.image_channels))
    return inputs, pad_to_multiple(scale_input(inputs, config.input_normalize), multiple)


def scale_input(x: Tensor, mode: bool | str) -> Tensor:
    """Pixels 0..255 as they are (False), as 0..1 (True), else standardised per image.

    "standardize_channels" does it per channel too.
    """
    if mode is False:
        return x
    if mode is True:
        return keras.layers.Rescaling(1.0 / 255, name="rescale", dtype="float32")(x)
    return Standardize(mode == "standardize_channels", name="standardize")(x)


def _margins(missing: int) -> tuple[int, int]:
    return missing // 2, missing - missing // 2


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """[B, H, W, C] with zeros around, so that H and W are multiples of `multiple`."""
    margins = (_margins(-x.shape[1] % multiple), _margins(-x.shape[2] % multiple))
    if not any(sum(pair) for pair in margins):
        return x
    return keras.layers.ZeroPadding2D(margins, name="pad")(x)


def crop_to(x: Tensor, height: int, width: int) -> Tensor:
    """[B, H, W, C] without the margins that `pad_to_multiple` has added."""
    margins = (_margins(x.shape[1] - height), _margins(x.shape[2] - width))
    if not any(sum(pair) for pair in margins):
        return x
    return keras.layers.Cropping2D(margins)(x)


def segmentation_head(
    x: Tensor,
    config: ModelConfig,
    *,
    kernel: int = 1,
    use_bias: bool = True,
    factor: int | tuple[int, int] = 1,
    name: str = "",
) -> Tensor:
    """Class probabilities [B, H, W, C] in float32, at the size and of the classes of the config.

    Parameters
    ----------
    kernel, use_bias : of the convolution that turns features into class scores.
    factor : by which the scores are enlarged bilinearly.
    name : prefix of the layers' names; without one they are "logits" and "probabilities".
    """
    prefix = f"{name}_" if name else ""
    x = keras.layers.Conv2D(
        config.num_classes, kernel, padding="same", use_bias=use_bias, name=f"{prefix}logits"
    )(x)
    if factor not in (1, (1, 1)):
        x = upsample(x, factor)
    return class_probabilities(x, config, name=f"{prefix}probabilities")


def class_probabilities(scores: Tensor, config: ModelConfig, name: str = "probabilities") -> Tensor:
    """Class scores [B, H, W, C] to probabilities in float32, at the size of the config."""
    final = config.multiclass_activation if config.num_classes > 1 else config.final_activation
    x = crop_to(scores, config.image_height, config.image_width)
    return keras.layers.Activation(activation(final), dtype="float32", name=name)(x)


def normalize(x: Tensor, kind: Literal["batch", "instance"] | None = "batch") -> Tensor:
    """Batch normalisation, instance normalisation (Ulyanov 2016) or none; [B, H, W, C]."""
    if kind == "batch":
        return BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    if kind == "instance":
        return keras.layers.GroupNormalization(groups=-1, epsilon=1e-5)(x)
    return x


def conv_block(
    x: Tensor,
    filters: int,
    kernel: int | tuple[int, int] = 3,
    *,
    norm: Literal["batch", "instance"] | None = "batch",
    act: str | Callable[[Any], Any] | None = "relu",
    dropout: float = 0.0,
    **keys: Any,
) -> Tensor:
    """Convolution, [dropout], [normalisation], [activation]: the order that most networks use.

    Parameters
    ----------
    norm, act, dropout : None or 0 leave the step out.
    keys : of `keras.layers.Conv2D` (strides, dilation_rate, use_bias, kernel_initializer, ...).
    """
    x = Conv2D(filters, kernel, padding="same", **keys)(x)
    if dropout > 0:
        x = keras.layers.Dropout(dropout)(x)
    x = normalize(x, norm)
    if act is not None:
        x = keras.layers.Activation(activation(act) if isinstance(act, str) else act)(x)
    return x


def upsample(
    x: Tensor, factor: int | tuple[int, int] = 2, interpolation: str = "bilinear"
) -> Tensor:
    """[B, H, W, C] to [B, factor H, factor W, C]."""
    return keras.layers.UpSampling2D(factor, interpolation=interpolation)(x)


@keras.saving.register_keras_serializable("flexseg")
class PatchEmbedding(keras.layers.Layer):
    """Patches to tokens: a linear map, plus a learned vector for each place.

    The places bind a network to the size that it is built for.

    Parameters
    ----------
    dim : channels of the tokens.
    """

    def __init__(self, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.project = keras.layers.Dense(dim, name="project")

    def build(self, input_shape: Any) -> None:
        """Weights: kernel [C, dim], bias [dim], positions [H W, dim]."""
        self.project.build(input_shape)
        self.positions = keras.layers.Embedding(
            input_shape[1] * input_shape[2], self.dim, name="positions"
        )
        self.positions.build()

    def call(self, x: Tensor) -> Tensor:
        """[B, H, W, C], one patch per pixel, to [B, H, W, dim]."""
        places = ops.reshape(self.positions.embeddings, (*x.shape[1:3], self.dim))
        x = self.project(x)
        return x + ops.cast(places, x.dtype)

    def flop(self, input_shape: Any) -> int:
        """Multiplications and additions for one image."""
        _, height, width, channels = input_shape
        return int(2 * height * width * channels * self.dim)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[B, H, W, dim]."""
        return (*input_shape[:-1], self.dim)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "dim": self.dim}
