"""Weights of a network for other classes, input channels and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.config.model import ModelConfig
from flexseg.dataset.labels import LabelMap

# Kinds of layers in which an axis of inputs is not the last but one.
_TRANSPOSED = "Transpose"
_PER_CHANNEL = ("Depthwise", "Separable")


@dataclass(frozen=True)
class Row:
    """Where an output for a class comes from.

    Attributes
    ----------
    kind : "copy" of the output `of`; the "difference" between it and that of the background;
        "zero"; or "new", with the fresh weights.
    """

    kind: Literal["copy", "difference", "zero", "new"]
    of: int = -1


@dataclass(frozen=True)
class ClassRows:
    """The outputs of a network for its classes, from those of another one by the class's name.

    Attributes
    ----------
    old : how many outputs the other one has.
    plain : of layers before the last; `scores` : of the last one, before softmax or sigmoid.
    names : of the classes that the outputs are for.
    """

    old: int
    plain: tuple[Row, ...]
    scores: tuple[Row, ...]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls, old: LabelMap, new: LabelMap, old_config: ModelConfig, new_config: ModelConfig
    ) -> ClassRows:
        """By name; the backgrounds are one class whatever they are called.

        One class with a sigmoid is two with a softmax whose background has the score 0, as
        sigmoid(z) = softmax(0, z); and the other way round z is the difference of both scores.
        """
        before, after = _names(old), _names(new)
        plain = [Row("copy", before.index(n)) if n in before else Row("new") for n in after]
        scores = list(plain)
        single, several = (old_config, new_config) if old.binary else (new_config, old_config)
        converted = (
            old.binary != new.binary
            and single.final_activation == "sigmoid"
            and several.multiclass_activation == "softmax"
        )
        if converted and not old.binary:
            scores = [Row("difference", row.of) if row.kind == "copy" else row for row in scores]
        elif converted and any(row.kind == "copy" for row in scores):
            scores[0] = Row("zero")
        shown = new.foreground if new.binary else new.classes
        names = tuple(c.name for c in shown)
        return cls(old.channels, tuple(plain), tuple(scores), names)

    @property
    def same(self) -> bool:
        """Nothing changes."""
        rows = tuple(Row("copy", i) for i in range(self.old))
        return self.plain == rows and self.scores == rows


def _names(labels: LabelMap) -> list[str]:
    """What each output is of; "" for the background."""
    names = ["", *(c.name.strip().casefold() for c in labels.foreground)]
    return names[1:] if labels.binary else names


def input_axis(kind: str, rank: int) -> int | None:
    """The axis of inputs of a weight; None where a layer treats each channel by itself."""
    if rank < 2 or any(word in kind for word in _PER_CHANNEL):
        return None
    return rank - 1 if _TRANSPOSED in kind else rank - 2


def with_outputs(
    values: NDArray, fresh: NDArray, axis: int, rows: Sequence[Row], old: int
) -> NDArray | None:
    """Weights whose outputs along an axis are those of other classes; None if they cannot be.

    Parameters
    ----------
    values : as many outputs for each of `old` classes, class by class within.
    fresh : new weights, of the shape of the result.
    """
    parts, target = _by_class(values, axis, old), _by_class(fresh, axis, len(rows))
    if parts is None or target is None or parts.shape[:-1] != target.shape[:-1]:
        return None
    found = target.copy()
    for place, row in enumerate(rows):
        if row.kind == "copy":
            found[..., place] = parts[..., row.of]
        elif row.kind == "difference":
            found[..., place] = parts[..., row.of] - parts[..., 0]
        elif row.kind == "zero":
            found[..., place] = 0
    return _joined(found, axis)


def with_inputs(values: NDArray, axis: int, rows: Sequence[Row], old: int) -> NDArray | None:
    """Weights whose inputs along an axis are of other classes: those of new ones count nothing."""
    parts = _by_class(values, axis, old)
    if parts is None:
        return None
    found = np.zeros((*parts.shape[:-1], len(rows)), values.dtype)
    for place, row in enumerate(rows):
        if row.kind == "copy":
            found[..., place] = parts[..., row.of]
    return _joined(found, axis)


def with_channels(values: NDArray, axis: int, old: int, new: int) -> NDArray | None:
    """Weights for images of other channels, so that an image of equal channels gives the same.

    From one channel they are repeated and divided, to one they are summed; else repeated in turn
    and scaled, as timm's `adapt_input_conv` does (Wightman 2019, PyTorch Image Models).
    """
    parts = _by_class(values, axis, old)
    if parts is None:
        return None
    if new == 1:
        found = parts.sum(axis=-1, keepdims=True)
    else:
        found = parts[..., np.arange(new) % old] * np.asarray(old / new, values.dtype)
    return _joined(found.astype(values.dtype), axis)


def with_places(
    values: NDArray, length: int, old_ratio: float, new_ratio: float, *, square: bool
) -> NDArray | None:
    """A vector for each place of a grid, [places, ...], for a grid of another size; bilinear.

    As position embeddings are fitted to other sizes (Dosovitskiy 2021, ViT).

    Parameters
    ----------
    length : places of the new grid.
    old_ratio, new_ratio : of height and width of the grids.
    square : the grids are square, whatever the image is.
    """
    before = _grid(len(values), 1.0 if square else old_ratio)
    after = _grid(length, 1.0 if square else new_ratio)
    if before is None or after is None:
        return None
    grid = values.reshape(*before, -1)
    rows, columns = (_interpolation(b, a) for b, a in zip(before, after, strict=True))
    found = np.einsum("yr,xc,rcd->yxd", rows, columns, grid)
    return found.reshape(length, *values.shape[1:]).astype(values.dtype)


def _grid(places: int, ratio: float) -> tuple[int, int] | None:
    height = max(1, round((places * ratio) ** 0.5))
    return (height, places // height) if places % height == 0 else None


def _interpolation(old: int, new: int) -> NDArray[np.float64]:
    """Weights [new, old] of a linear interpolation between the middles of `old` intervals."""
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0.0, 1 - np.abs(at[:, None] - np.arange(old)))


def _by_class(values: NDArray, axis: int, count: int) -> NDArray | None:
    """The axis moved to the end, as [..., per class, count]; None if it does not hold `count`s."""
    if values.shape[axis] % count:
        return None
    moved = np.moveaxis(values, axis, -1)
    return moved.reshape(*moved.shape[:-1], -1, count)


def _joined(parts: NDArray, axis: int) -> NDArray:
    """The inverse of `_by_class`."""
    return np.moveaxis(parts.reshape(*parts.shape[:-2], -1), -1, axis)
