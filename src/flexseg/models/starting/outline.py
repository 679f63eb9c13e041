"""The layers of a network by the shapes of their weights, and which other network's fit them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import keras

from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError
from flexseg.models.build import build_model
from flexseg.models.weights import weighted_layers

Aspect = Literal["classes", "channels", "size"]
# What decides the length of an axis, and the keys of [model] that say it.
ASPECTS: dict[Aspect, tuple[str, ...]] = {
    "classes": ("num_classes",),
    "channels": ("image_channels",),
    "size": ("image_width", "image_height"),
}


@dataclass(frozen=True)
class WeightOutline:
    """A weight without its values.

    Attributes
    ----------
    constant : not learned but computed from the size of the image.
    axes : those whose length an aspect decides.
    """

    path: str
    shape: tuple[int, ...]
    constant: bool = False
    axes: frozenset[tuple[Aspect, int]] = frozenset()

    def of(self, aspect: Aspect) -> list[int]:
        """The axes that an aspect decides, the first ones first."""
        return sorted(axis for cause, axis in self.axes if cause == aspect)


@dataclass(frozen=True)
class LayerOutline:
    """A layer that owns weights; `kind` is the name of its class."""

    name: str
    kind: str
    weights: tuple[WeightOutline, ...]

    @cached_property
    def key(self) -> tuple[object, ...]:
        """Equal for layers that can take each other's weights as they are."""
        return self.kind, *(weight.shape for weight in self.weights)

    @cached_property
    def size(self) -> int:
        """How many numbers the weights are."""
        return sum(math.prod(weight.shape) for weight in self.weights)


Outline = tuple[LayerOutline, ...]


def outline_of(model: keras.Model) -> Outline:
    """The layers of a network that own weights, in its order."""
    return tuple(
        LayerOutline(
            layer.name,
            type(layer).__name__,
            tuple(
                WeightOutline(weight.path, tuple(weight.shape), id(weight) in _constants(layer))
                for weight in layer.weights
            ),
        )
        for layer in weighted_layers(model)
    )


def _constants(layer: keras.layers.Layer) -> set[int]:
    """Those weights of a layer that it computes from the size, as `constants` tells."""
    return {id(weight) for weight in getattr(layer, "constants", ())}


def planned_outline(config: ModelConfig, search: Path | None) -> Outline:
    """The layers of the network of a config; for networks of the registry no memory is taken.

    Raises
    ------
    ConfigError : it cannot be built.
    """
    scope: AbstractContextManager[object] = nullcontext()
    if ":" not in config.model:
        scope = keras.StatelessScope(initialize_variables=False)
    with scope:
        return outline_of(build_model(config, search))


def compared(
    own: Outline,
    old: ModelConfig,
    new: ModelConfig,
    search: Path | None,
    *,
    other_classes: bool,
) -> tuple[Outline, Outline]:
    """The network `new` as it would be for the classes, channels and size of `old`, and as it is.

    The axes that these decide are marked in the latter, whose layers are those of the former in
    the same order, or, where they are not, none are marked.

    Parameters
    ----------
    own : of the network `new`.
    old, new : with all options.
    other_classes : the classes differ, be they as many.

    Raises
    ------
    ConfigError : the networks cannot be built.
    """
    changed: list[Aspect] = [
        aspect
        for aspect, keys in ASPECTS.items()
        if any(getattr(old, key) != getattr(new, key) for key in keys)
        or (aspect == "classes" and other_classes)
    ]
    if not changed:
        return own, own
    keys = [key for aspect in changed for key in ASPECTS[aspect]]
    base_config = new.model_copy(update={key: getattr(old, key) for key in keys})
    try:
        base = planned_outline(base_config, search)
        marked = own
        for aspect in changed:
            values = {key: getattr(new, key) for key in ASPECTS[aspect]}
            if len(changed) == 1 and any(values[key] != getattr(old, key) for key in values):
                marked = _marked(marked, base, own, aspect)
                continue
            if aspect == "classes" and new.num_classes == old.num_classes:
                values = {"num_classes": new.num_classes + 1}
            variant = planned_outline(base_config.model_copy(update=values), search)
            marked = _marked(marked, base, variant, aspect)
    except ConfigError:  # the options of the one do not go with the size of the other
        return own, own
    return (base, marked) if _alike(base, own) else (own, own)


def _alike(one: Outline, two: Outline) -> bool:
    """Whether two outlines have the same layers, be it with other shapes."""
    return [_ranks(layer) for layer in one] == [_ranks(layer) for layer in two]


def _ranks(layer: LayerOutline) -> tuple[str, list[int]]:
    return layer.kind, [len(weight.shape) for weight in layer.weights]


def _marked(own: Outline, base: Outline, variant: Outline, aspect: Aspect) -> Outline:
    """`own` with the axes that differ between the two others."""
    if not (_alike(base, variant) and _alike(base, own)):
        return own
    found = []
    for layer, before, after in zip(own, base, variant, strict=True):
        weights = [
            replace(
                weight,
                axes=weight.axes | {(aspect, axis) for axis in _differing(b.shape, a.shape)},
            )
            for weight, b, a in zip(layer.weights, before.weights, after.weights, strict=True)
        ]
        found.append(replace(layer, weights=tuple(weights)))
    return tuple(found)


def _differing(one: Sequence[int], two: Sequence[int]) -> Iterable[int]:
    return (axis for axis, pair in enumerate(zip(one, two, strict=True)) if pair[0] != pair[1])


def partners(old: Outline, new: Outline) -> list[int | None]:
    """For each layer of `new` the place of the layer in `old` whose weights fit it.

    Both are read in their order, as texts are compared: of all ways to pair layers of one kind and
    shape without crossing, one with most weights. So a level more, or a normalisation less, does
    not shift what comes after it.
    """
    one, two = [layer.key for layer in old], [layer.key for layer in new]
    shared = min(len(one), len(two))
    head = next((i for i in range(shared) if one[i] != two[i]), shared)
    tail = next((i for i in range(shared - head) if one[-1 - i] != two[-1 - i]), shared - head)
    found: list[int | None] = list(range(head))
    middle = _aligned(old[head : len(one) - tail], new[head : len(two) - tail])
    found += [None if i is None else i + head for i in middle]
    return found + [len(one) - tail + i for i in range(tail)]


def _aligned(old: Outline, new: Outline) -> list[int | None]:
    # best[i][j]: the most weights that the layers from i and j on can share.
    best = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in reversed(range(len(old))):
        for j in reversed(range(len(new))):
            paired = best[i + 1][j + 1] + old[i].size if old[i].key == new[j].key else 0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    found: list[int | None] = [None] * len(new)
    i = j = 0
    while i < len(old) and j < len(new):
        paired = best[i + 1][j + 1] + old[i].size
        if old[i].key == new[j].key and best[i][j] == paired:
            found[j] = i
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found
