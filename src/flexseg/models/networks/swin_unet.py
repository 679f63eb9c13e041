"""Swin-Unet of Cao et al. 2021 in the form of the original systems.

Grids of tokens are [B, H, W, C]. A block's attention stays within windows of window x window
tokens; every second block shifts the windows by half their size. As in the files of the
original systems, each block keeps the tables of its windows as weights: an old file brings
its own. (Theirs mask nothing, all entries being equal; here the mask is that of the paper.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray
from pydantic import Field

from flexseg.backend import Tensor
from flexseg.config.base import Counts, Positive, SizePair
from flexseg.config.model import NetworkConfig
from flexseg.errors import ConfigError
from flexseg.models.architecture import register_model
from flexseg.models.layers import PatchEmbedding, network_input, segmentation_head

MASKED = -100.0
HEADS = [4, 8]  # of the first level, of the deeper ones
WINDOWS = [4, 2]
MLP = 512
REACH = 64  # steps within which the nearest legal sizes are looked for


class SwinUNetConfig(NetworkConfig):
    """Options of the SwinUNet."""

    filter_num_begin: int = Field(128, gt=0, description="Channels of the first level.")
    depth: int = Field(4, ge=2, le=20, description="Levels.")
    stack_num_down: int = Field(2, gt=0, le=100, description="Blocks per level down.")
    stack_num_up: int = Field(2, gt=0, le=100, description="Blocks per level up.")
    patch_size: SizePair = Field((4, 4), description="Patch in pixels.")
    num_heads: Positive | Counts | None = Field(
        None,
        description="Attention heads per level, or one number for all.",
    )
    window_size: Counts | None = Field(
        None,
        description="Window per level, in patches of that level.",
    )
    num_mlp: Positive | None = Field(None, description="Width of the MLP in each block.")
    shift_window: bool = Field(True, description="Shift every second block's window.")


def windows_of(grid: NDArray, window: int) -> NDArray:
    """[H, W] to [windows, window^2], row by row."""
    rows, columns = grid.shape[0] // window, grid.shape[1] // window
    grid = grid.reshape(rows, window, columns, window).transpose(0, 2, 1, 3)
    return grid.reshape(rows * columns, window * window)


def relative_positions(window: int) -> NDArray:
    """For each pair of a window's tokens the row of the bias table; [window^2, window^2]."""
    rows, columns = np.divmod(np.arange(window * window), window)
    rows = rows[:, None] - rows[None, :] + window - 1
    columns = columns[:, None] - columns[None, :] + window - 1
    return rows * (2 * window - 1) + columns


def shift_mask(height: int, width: int, window: int, shift: int) -> NDArray:
    """0 where two tokens of a shifted window were neighbours before the shift, else -100.

    [windows, window^2, window^2]
    """
    region = [np.digitize(np.arange(n), [n - window, n - shift]) for n in (height, width)]
    regions = windows_of(3 * region[0][:, None] + region[1][None, :], window)
    return np.where(regions[:, :, None] == regions[:, None, :], 0.0, MASKED)


class _Tables(layers.Layer):
    """The constants of a block's windows, as weights that are not trained."""

    def __init__(self, window: int, shift: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window, self.shift = window, shift

    def build(self, input_shape: Any) -> None:
        """Weights: if shifted, the mask; the relative positions."""
        _, height, width, _ = input_shape
        self.mask = None
        if self.shift:
            mask = shift_mask(height, width, self.window, self.shift)
            self.mask = self._constant("attention_mask", mask, None)
        positions = relative_positions(self.window)
        self.relative_positions = self._constant("relative_positions", positions, "int")

    def _constant(self, name: str, values: NDArray, dtype: str | None) -> Any:
        initial = keras.initializers.Constant(values)
        return self.add_weight(
            name=name, shape=values.shape, dtype=dtype, initializer=initial, trainable=False
        )


class _WindowAttention(layers.Layer):
    """Multi-head self-attention of the tokens of each window, with a bias by their offset."""

    def __init__(self, heads: int, window: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.window = heads, window

    def build(self, shape: Any) -> None:
        """Weights: bias table [(2 window - 1)^2, heads], then the projections."""
        channels = shape[-1]
        self.bias_table = self.add_weight(
            name="bias_table", shape=((2 * self.window - 1) ** 2, self.heads), initializer="zeros"
        )
        self.qkv = layers.Dense(3 * channels, name="qkv")
        self.qkv.build(shape)
        self.project = layers.Dense(channels, name="project")
        self.project.build(shape)

    def call(self, x: Tensor, relative_positions: Tensor, mask: Tensor = None) -> Tensor:
        """[B, windows, window^2, C] to the same shape; the scores are in float32."""
        windows, tokens, channels = x.shape[1:]
        parts = (-1, windows, tokens, 3, self.heads, channels // self.heads)
        qkv = ops.transpose(ops.reshape(self.qkv(x), parts), (3, 0, 1, 4, 2, 5))
        query, key, value = qkv[0], qkv[1], qkv[2]
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 2, 4, 3)))
        scores = ops.cast(scores, "float32") * (channels // self.heads) ** -0.5
        bias = ops.take(self.bias_table, relative_positions, axis=0)
        scores = scores + ops.cast(ops.transpose(bias, (2, 0, 1)), "float32")
        if mask is not None:
            scores = scores + ops.cast(mask, "float32")[:, None]
        x = ops.matmul(ops.cast(ops.softmax(scores), value.dtype), value)
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4)), (-1, windows, tokens, channels))
        return self.project(x)


@keras.saving.register_keras_serializable("flexseg")
class SwinTransformerBlock(layers.Layer):
    """x + attention within windows, then x + MLP; both see x normalised (Liu 2021).

    Parameters
    ----------
    heads : of the attention; they divide the channels.
    window : side of the windows in tokens; it divides height and width.
    shift : by which the windows are moved, in tokens; 0 where they are not.
    mlp : width of the MLP.
    """

    def __init__(self, heads: int, window: int, shift: int, mlp: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.window, self.shift, self.mlp = heads, window, shift, mlp
        # This order is that of the weights in the original files, the constants last.
        self.norm1 = layers.LayerNormalization(epsilon=1e-5, name="norm1")
        self.attention = _WindowAttention(heads, window, name="attention")
        self.norm2 = layers.LayerNormalization(epsilon=1e-5, name="norm2")
        self.widen = layers.Dense(mlp, activation="gelu", name="widen")

    def build(self, input_shape: Any) -> None:
        """Weights as in the original files."""
        channels = input_shape[-1]
        self.norm1.build(input_shape)
        self.attention.build((None, None, self.window**2, channels))
        self.norm2.build(input_shape)
        self.widen.build(input_shape)
        self.narrow = layers.Dense(channels, name="narrow")
        self.narrow.build((*input_shape[:-1], self.mlp))
        self.tables = _Tables(self.window, self.shift, name="tables")
        self.tables.build(input_shape)

    @property
    def constants(self) -> list[Any]:
        """The weights that are not learned but follow from the size."""
        return list(self.tables.weights)

    def call(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same shape."""
        _, height, width, channels = x.shape
        rows, columns = height // self.window, width // self.window
        cells = (-1, rows, self.window, columns, self.window, channels)
        tokens = (-1, rows * columns, self.window**2, channels)
        paired = (-1, rows, columns, self.window, self.window, channels)

        y = ops.roll(self.norm1(x), (-self.shift, -self.shift), axis=(1, 2))
        y = ops.reshape(ops.transpose(ops.reshape(y, cells), (0, 1, 3, 2, 4, 5)), tokens)
        y = self.attention(y, self.tables.relative_positions, self.tables.mask)
        y = ops.transpose(ops.reshape(y, paired), (0, 1, 3, 2, 4, 5))
        y = ops.reshape(y, (-1, height, width, channels))
        x = x + ops.roll(y, (self.shift, self.shift), axis=(1, 2))
        return x + self.narrow(self.widen(self.norm2(x)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape

    def flop(self, input_shape: Any) -> int:
        """Multiplications and additions for one image: projections, attention, MLP."""
        _, height, width, channels = input_shape
        projections = 4 * channels**2 + 2 * channels * self.mlp
        return int(2 * height * width * (projections + 2 * self.window**2 * channels))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"heads": self.heads, "window": self.window, "shift": self.shift, "mlp": self.mlp}
        return {**super().get_config(), **own}


def _space_to_depth(x: Tensor, size: int, order: tuple[int, ...]) -> Tensor:
    """[B, H, W, C] to [B, H / size, W / size, size^2 C], a patch's pixels in `order`."""
    _, height, width, channels = x.shape
    rows, columns = height // size, width // size
    x = layers.Reshape((rows, size, columns, size, channels))(x)
    x = layers.Permute((1, 3, *order, 5))(x)
    return layers.Reshape((rows, columns, size * size * channels))(x)


def _depth_to_space(x: Tensor, size: int) -> Tensor:
    """[B, H, W, size^2 C] to [B, size H, size W, C]."""
    _, height, width, channels = x.shape
    channels //= size * size
    x = layers.Reshape((height, width, size, size, channels))(x)
    x = layers.Permute((1, 3, 2, 4, 5))(x)
    return layers.Reshape((height * size, width * size, channels))(x)


def _merge(x: Tensor) -> Tensor:
    """[B, H, W, C] to [B, H / 2, W / 2, 2 C]; the originals take a patch column by column."""
    return layers.Dense(2 * x.shape[-1], use_bias=False)(_space_to_depth(x, 2, order=(4, 2)))


def _expand(x: Tensor, size: int) -> Tensor:
    """[B, H, W, C] to [B, size H, size W, C / size]."""
    return _depth_to_space(layers.Conv2D(size * x.shape[-1], 1, use_bias=False)(x), size)


def _stage(x: Tensor, config: SwinUNetConfig, entry: int, blocks: int) -> Tensor:
    """Swin blocks of one level, [B, H, W, C] to the same shape.

    Parameters
    ----------
    entry : of the lists of windows and heads.
    """
    window, shift = window_and_shift(config, entry, x.shape[1:3])
    heads = _heads(config)[entry]
    for block in range(blocks):
        x = SwinTransformerBlock(heads, window, shift * (block % 2), config.num_mlp or MLP)(x)
    return x


def _per_level(values: list[int], config: SwinUNetConfig) -> list[int]:
    """A single number holds for all levels."""
    return values * config.depth if len(values) == 1 else values


def _heads(config: SwinUNetConfig) -> list[int]:
    """Attention heads per level."""
    heads = config.num_heads
    if heads is None:
        return HEADS[:1] + HEADS[1:] * (config.depth - 1)
    return _per_level([heads] if isinstance(heads, int) else heads, config)


def _windows(config: SwinUNetConfig) -> list[int]:
    """Side of the windows per level, in tokens of that level."""
    if config.window_size is None:
        return WINDOWS[:1] + WINDOWS[1:] * (config.depth - 1)
    return _per_level(config.window_size, config)


def unused_by_swin(config: SwinUNetConfig) -> dict[str, str]:
    """Keys whose values are longer than the network is deep."""
    lists = {"window_size": _windows(config), "num_heads": _heads(config)}
    return {
        key: f"depth = {config.depth} needs {config.depth} numbers. As in the original, the way "
        "down takes the first of them, and the way up the last."
        for key, values in lists.items()
        if len(values) > config.depth
    }


def _entries(config: SwinUNetConfig) -> list[tuple[int, int]]:
    """(level, entry of the lists) of each stage.

    The way up reads the lists from their end, so that its first stage, one level above the
    deepest, has the windows and heads of the deepest: so do the original systems.
    """
    down = [(level, level) for level in range(config.depth)]
    return down + [(config.depth - 1 + entry, entry) for entry in range(-1, -config.depth, -1)]


def window_and_shift(config: SwinUNetConfig, entry: int, grid: tuple[int, int]) -> tuple[int, int]:
    """The window of a stage and the shift of its odd blocks, in tokens.

    A window that is larger than the grid becomes as large as its shorter side, unshifted.
    """
    wanted = _windows(config)[entry]
    if wanted > min(grid):
        return min(grid), 0
    return wanted, wanted // 2 if config.shift_window else 0


def fits(config: SwinUNetConfig, height: int, width: int) -> bool:
    """Whether patches, their merging and all windows divide an image of this size."""
    unit = config.patch_size[0] * 2 ** (config.depth - 1)
    if height % unit or width % unit:
        return False
    for level, entry in _entries(config):
        side = config.patch_size[0] * 2**level
        grid = height // side, width // side
        window, _ = window_and_shift(config, entry, grid)
        if grid[0] % window or grid[1] % window:
            return False
    return True


def nearest_sizes(config: SwinUNetConfig) -> list[tuple[int, int]]:
    """The nearest legal (width, height) that is not larger, if any, and that is not smaller."""
    patch, windows = config.patch_size[0], _windows(config)
    unit = patch * 2 ** (config.depth - 1)
    # No size that all windows divide is refused; smaller ones may do.
    sure = patch * math.lcm(
        unit // patch, *(windows[e] * 2**level for level, e in _entries(config))
    )

    def sides(length: int, direction: int) -> list[int]:
        start = length // unit if direction < 0 else -(-length // unit)
        near = [(start + direction * step) * unit for step in range(REACH)]
        return [side for side in near if side > 0] + [-(-length // sure) * sure] * (direction > 0)

    found = []
    for direction in (-1, 1):
        pairs = product(sides(config.image_width, direction), sides(config.image_height, direction))
        legal = [(width, height) for width, height in pairs if fits(config, height, width)]
        if legal:
            found.append(min(legal, key=_distance(config)))
    return found


def _distance(config: SwinUNetConfig) -> Callable[[tuple[int, int]], tuple[int, int]]:
    """How far a (width, height) is from the config's, then the larger of the two differences."""

    def distance(size: tuple[int, int]) -> tuple[int, int]:
        steps = abs(size[0] - config.image_width), abs(size[1] - config.image_height)
        return sum(steps), max(steps)

    return distance


def check_swin(config: SwinUNetConfig) -> None:
    """Refuse what cannot be cut into patches, windows and heads.

    Raises
    ------
    ConfigError : lists shorter than `depth`, channels that the heads or the patch do not
        divide, or a size that patches and windows do not divide.
    """
    patch, first = config.patch_size[0], config.filter_num_begin
    if patch != config.patch_size[1]:
        raise ConfigError(
            f"patch_size = {config.patch_size} is not square.",
            "Use two equal numbers.",
            "[model] patch_size",
        )
    for key, values in (("window_size", _windows(config)), ("num_heads", _heads(config))):
        if len(_per_level(values, config)) < config.depth:
            raise ConfigError(
                f"{key} = {values} has {len(values)} numbers for depth = {config.depth}.",
                f"Give one number, or {config.depth}.",
                f"[model] {key}",
            )
    if first % patch:
        raise ConfigError(
            f"filter_num_begin = {first} is not a multiple of patch_size = {patch}.",
            f"Use for example {-(-first // patch) * patch}.",
            "[model] filter_num_begin",
        )
    for level, entry in _entries(config):
        channels, heads = first * 2**level, _heads(config)[entry]
        if channels % heads:
            raise ConfigError(
                f"num_heads = {_heads(config)}: {heads} heads cannot share the {channels} channels "
                f"of level {level}.",
                "Use heads that divide filter_num_begin, e.g. powers of 2 for both.",
                "[model] num_heads",
            )
    if not fits(config, config.image_height, config.image_width):
        sizes = " and ".join(f"{width} x {height}" for width, height in nearest_sizes(config))
        raise ConfigError(
            f"Patches of {patch} pixels, merged {config.depth - 1} times, and windows of "
            f"{_windows(config)} do not divide {config.image_width} x {config.image_height}.",
            f"Nearest legal sizes (width x height): {sizes}.",
            "[model] image_width, image_height",
        )


@register_model(
    "SwinUNet",
    "TensorFlowFlexSwinUNet",
    "TensorflowSwinUNet",
    paper="Cao 2021, Swin-Unet: Unet-like pure transformer for medical image segmentation",
    check=check_swin,
    unused=unused_by_swin,
    defaults={"num_heads": [4, 8, 8, 8], "num_mlp": MLP, "window_size": [4, 2, 2, 2]},
)
def build_swin_unet(config: SwinUNetConfig) -> keras.Model:
    """U-shaped transformer without convolutions: attention within shifted windows of patches.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    patch = config.patch_size[0]
    inputs, x = network_input(config)
    x = PatchEmbedding(config.filter_num_begin)(_space_to_depth(x, patch, order=(2, 4)))
    skips = []
    for level in range(config.depth):
        x = _stage(x if level == 0 else _merge(x), config, level, config.stack_num_down)
        skips.append(x)
    for entry, skip in enumerate(reversed(skips[:-1]), start=1):
        x = layers.Concatenate()([_expand(x, 2), skip])
        x = layers.Dense(skip.shape[-1], use_bias=False)(x)
        x = _stage(x, config, -entry, config.stack_num_up)
    outputs = segmentation_head(_expand(x, patch), config, use_bias=False)
    return keras.Model(inputs, outputs, name="swin_unet")
