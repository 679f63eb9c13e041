"""What is done with predicted labels: small parts dropped, holes filled.

Each step belongs to one class and only moves pixels between it and the background. The steps come
in a fixed order: parts are dropped first, so that what they leave inside of another class is a
hole of that class. Applied twice, nothing changes any more.

Pixels that touch in a side, edge or corner are one part (8 neighbours in 2-D, 26 in 3-D), as
lesions are counted. A hole is a region of background, connected by sides alone (4 or 6
neighbours), that touches the class and nothing else: neither another class nor the image's edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flexseg.config.infer import PostprocessConfig
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError

Box = tuple[slice, ...]
_SECTION = "[postprocess]"


@dataclass(frozen=True)
class Steps:
    """What is done with one class.

    Attributes
    ----------
    largest_component : keep the largest part alone; of equal ones the first in memory.
    min_size : parts of fewer pixels (voxels) are dropped.
    fill_holes : holes of the class get the class.
    """

    largest_component: bool = False
    min_size: int = 0
    fill_holes: bool = False

    @property
    def drops(self) -> bool:
        """Whether parts are dropped."""
        return self.largest_component or self.min_size > 1

    def kept(self, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which parts stay, by their sizes in pixels."""
        keep = sizes >= self.min_size
        if self.largest_component and len(sizes):
            keep &= np.arange(len(sizes)) == sizes.argmax()
        return keep

    def as_dict(self) -> dict[str, Any]:
        """The steps that are taken, as `[postprocess]` names them."""
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class Postprocessing:
    """The steps of all classes.

    Attributes
    ----------
    steps : class id -> steps; classes without any are absent.
    """

    steps: Mapping[int, Steps] = field(default_factory=dict)

    @classmethod
    def from_config(cls, config: PostprocessConfig, labels: LabelMap) -> Postprocessing:
        """What `[postprocess]` says.

        Raises
        ------
        ConfigError : it names a class that does not exist, or the background.
        """
        ids = {c.name: c.id for c in labels.foreground}
        steps = dict.fromkeys(ids.values(), Steps())

        def choose(name: str, key: str, value: bool | int) -> None:
            if name not in ids:
                background = labels.classes[0].name
                what = "is the background" if name == background else "is not a class"
                raise ConfigError(
                    f"{name!r} {what}.",
                    f"The classes are: {', '.join(map(repr, ids))}.",
                    f"{_SECTION} {key}",
                )
            changed = {key: value}
            steps[ids[name]] = replace(steps[ids[name]], **changed)  # type: ignore[arg-type]

        for key in ("largest_component", "fill_holes"):
            chosen = getattr(config, key)
            for name in ids if chosen is True else chosen or ():
                choose(name, key, True)
        sizes = config.min_size
        sizes = sizes if isinstance(sizes, dict) else dict.fromkeys(ids, sizes)
        for name, size in sizes.items():
            choose(name, "min_size", size)
        return cls({class_id: s for class_id, s in steps.items() if s != Steps()})

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Mapping[str, Any]], ids: Mapping[str, int]
    ) -> Postprocessing:
        """The inverse of `as_dict`.

        Parameters
        ----------
        ids : class name -> id.

        Raises
        ------
        KeyError, TypeError : the content is of something else.
        """
        return cls({ids[name]: Steps(**steps) for name, steps in data.items()})

    def as_dict(self, labels: LabelMap) -> dict[str, dict[str, Any]]:
        """Class name -> the steps that are taken, plain JSON types."""
        return {
            labels.classes[class_id].name: steps.as_dict() for class_id, steps in self.steps.items()
        }

    def __call__(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids [H, W] or [z, y, x], cleaned; the array itself if there is nothing to do.

        In memory are at most the labels, their copy, and 6 bytes per pixel of the box around
        what is looked at.
        """
        if self.steps and labels.ndim == 3 and labels.shape.count(1) == 1:
            # One slice is an image: its holes are not open before and behind it.
            return self(labels.squeeze()).reshape(labels.shape)
        result = labels
        for class_id, steps in self.steps.items():
            if steps.drops:
                result = drop_parts(result, class_id, steps)
        fill = [class_id for class_id, steps in self.steps.items() if steps.fill_holes]
        return fill_holes(result, fill) if fill else result


def parts(
    labels: NDArray[np.uint8], class_id: int
) -> tuple[Box, NDArray[np.int32], NDArray[np.int64]] | None:
    """The connected parts of a class; None where it is not.

    Returns
    -------
    box : around all of the class.
    numbers : [box] 1, 2, ... for the parts, 0 elsewhere.
    sizes : [parts] pixels.
    """
    box = bounding_box(labels == class_id)
    if box is None:
        return None
    structure = ndimage.generate_binary_structure(labels.ndim, labels.ndim)
    numbers, count = ndimage.label(labels[box] == class_id, structure)
    return box, numbers, counted(numbers, count)


def counted(numbers: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """How often 1, 2, ..., `count` occur."""
    # Row by row: bincount makes a copy of 8 bytes per pixel.
    total = np.zeros(count + 1, np.int64)
    for part in numbers:
        total += np.bincount(part.ravel(), minlength=count + 1)
    return total[1:]


def drop_parts(labels: NDArray[np.uint8], class_id: int, steps: Steps) -> NDArray[np.uint8]:
    """Turn parts of a class that do not stay into background."""
    found = parts(labels, class_id)
    if found is None:
        return labels
    box, numbers, sizes = found
    keep = steps.kept(sizes)
    if keep.all():
        return labels
    result = labels.copy()
    result[box][np.concatenate([[False], ~keep])[numbers]] = 0
    return result


def fill_holes(labels: NDArray[np.uint8], class_ids: list[int]) -> NDArray[np.uint8]:
    """Give the holes of some classes their class."""
    box = bounding_box(labels)
    if box is None:
        return labels
    inside = labels[box]
    numbers, count = ndimage.label(inside == 0)
    # Beyond the box is background up to the image's edge: what touches its faces is no hole.
    hole = np.ones(count + 1, bool)
    for axis in range(inside.ndim):
        for face in (0, -1):
            hole[numbers.take(face, axis=axis)] = False
    hole[0] = False
    if not hole.any():
        return labels
    pixels = np.flatnonzero(hole[numbers])
    owner = (np.cumsum(hole) - 1)[numbers.ravel()[pixels]]
    del numbers
    flat = np.ascontiguousarray(inside).ravel()
    touched = np.zeros((int(hole.sum()), int(flat.max()) + 1), bool)
    # Holes touch no face, so all their neighbours are in the box, one stride away.
    for axis in range(inside.ndim):
        stride = int(np.prod(inside.shape[axis + 1 :]))
        for step in (-stride, stride):
            touched[owner, flat[pixels + step]] = True
    touched[:, 0] = False
    one_class = touched.sum(axis=1) == 1
    of_class = np.where(one_class, touched.argmax(axis=1), 0).astype(np.uint8)
    of_class[~np.isin(of_class, class_ids)] = 0
    filled = of_class[owner]
    if not filled.any():
        return labels
    result = labels.copy()
    places = np.unravel_index(pixels[filled > 0], inside.shape)
    result[box][places] = filled[filled > 0]
    return result


def bounding_box(mask: NDArray) -> Box | None:
    """The smallest box around what is not 0; None without any."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        if not len(used):
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)
