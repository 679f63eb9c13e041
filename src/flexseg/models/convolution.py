"""Convolutions that take the fastest way on a CPU.

oneDNN, which TensorFlow computes with on a CPU, is made for pictures of many pixels. At the
bottom of a U-Net, where hundreds of channels meet a few pixels, it reorders the weights in each
step, and takes up to ten times as long for their gradient as the matrix product that a
convolution is. `benchmarks/train_step.py` measures both ways.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from flexseg import backend
from flexseg.backend import Tensor

# Pixels up to which a convolution is computed as a matrix product.
_FEW_PIXELS = 64
# A transposed convolution whose strides equal its kernel is a matrix product without detour.
_FEW_PIXELS_TRANSPOSED = 64 * 64


@keras.saving.register_keras_serializable("flexseg")
class Conv2D(keras.layers.Conv2D):
    """Keras' layer: same weights, same results but for rounding."""

    def convolution_op(self, inputs: Tensor, kernel: Any) -> Tensor:
        """[B, H, W, C] and [rows, columns, C, filters] to [B, H, W, filters]."""
        plain = (self.padding, self.strides, self.dilation_rate, self.groups)
        few = _few_pixels(inputs, _FEW_PIXELS)
        if not few or plain != ("same", (1, 1), (1, 1), 1) or self.kernel_size == (1, 1):
            return super().convolution_op(inputs, kernel)
        rows, columns, channels, filters = kernel.shape
        height, width = inputs.shape[1:3]
        pixels = ops.reshape(inputs, (-1, height * width, channels))
        taps = ops.cast(_taps(height, width, rows, columns), inputs.dtype)
        patches = ops.reshape(ops.matmul(taps, pixels), (-1, rows * columns * channels))
        product = ops.matmul(patches, ops.reshape(kernel, (-1, filters)))
        return ops.reshape(product, (-1, height, width, filters))


@keras.saving.register_keras_serializable("flexseg")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras' layer: same weights, same results but for rounding."""

    def call(self, inputs: Tensor) -> Tensor:
        """[B, H, W, C] to [B, rows H, columns W, filters]."""
        rows, columns = self.kernel_size
        apart = self.strides == (rows, columns) and self.dilation_rate == (1, 1)
        few = _few_pixels(inputs, _FEW_PIXELS_TRANSPOSED)
        if not few or not apart or self.output_padding is not None:
            return super().call(inputs)
        height, width, channels = inputs.shape[1:]
        kernel = ops.reshape(self.kernel, (rows * columns * self.filters, channels))
        product = ops.matmul(ops.reshape(inputs, (-1, channels)), ops.transpose(kernel))
        x = ops.reshape(product, (-1, height, width, rows, columns, self.filters))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        x = ops.reshape(x, (-1, height * rows, width * columns, self.filters))
        if self.use_bias:
            x = ops.add(x, ops.reshape(self.bias, (1, 1, 1, self.filters)))
        return x if self.activation is None else self.activation(x)


@lru_cache
def _taps(height: int, width: int, rows: int, columns: int) -> NDArray[np.float32]:
    """Which pixels a kernel [rows, columns] touches: 0 or 1, [H W rows columns, H W].

    Row (y, x, row, column) picks pixel (y + row, x + column), less the kernel's margin, and
    nothing where that is outside. Its product with an image is exact in any precision, and so
    is its gradient, which slices would have to add up one by one.
    """
    along_y = _taps_along(height, rows)
    along_x = _taps_along(width, columns)
    taps = np.einsum("yrh,xcw->yxrchw", along_y, along_x)
    return taps.reshape(height * width * rows * columns, height * width)


def _taps_along(length: int, kernel: int) -> NDArray[np.float32]:
    """The same for one axis: [length, kernel, length]."""
    target = np.arange(length)[:, None] + np.arange(kernel) - (kernel - 1) // 2
    return (target[..., None] == np.arange(length)).astype(np.float32)


def _few_pixels(x: Tensor, limit: int) -> bool:
    """Whether a tensor [B, H, W, C] is better multiplied than convolved on this device."""
    height, width = x.shape[1:3]
    if None in (height, width) or height * width > limit:
        return False
    return keras.backend.backend() == "tensorflow" and backend.accelerator() is None
