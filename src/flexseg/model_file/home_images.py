"""What the images of a training look like, so that images of another kind are noticed.

An image is told by some thirty figures of what the network is given: the distribution of each
channel, how channels go together, and how much changes from pixel to pixel at small distances.
How far an image lies from those of the training is its Mahalanobis distance (Mahalanobis 1936)
with a covariance that is shrunk towards its diagonal (Chen, Wiesel, Eldar, Hero: Shrinkage
algorithms for MMSE covariance estimation, IEEE Trans. Signal Process. 58, 2010). The limit is a
quantile of the distances of images that the distribution was not fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Fewer images say too little of how images of the training differ.
FEWEST = 8
# So many parts are left out in turn, to see how far images lie that were not fitted to.
_PARTS = 5
_QUANTILES = (5, 25, 50, 75, 95)
_LAGS = (1, 2, 4)
# Where windows of large images lie, in quarters of the room that they have.
_WINDOWS = ((1, 1), (1, 3), (2, 2), (3, 1), (3, 3))
# Of home images, the share that may lie beyond the limit.
_BEYOND = 0.05
# Images without any difference in a figure still differ by so much (of 255; of a logarithm).
_LEAST_DEVIATION = 0.02
_LEAST_SHRINKAGE = 0.02
_EPSILON = 1e-3
_LARGEST = 1e6
# Pixels that quantiles are taken of.
_SAMPLE = 4000
_ARRAYS = ("centre", "scale", "precision", "limits")
_PREFIX = "home_"


def image_figures(prepared: NDArray) -> NDArray[np.float64]:
    """What tells images apart: figures of one prepared image [h, w, C], see the module.

    Values are on the network's scale (0 to 255). Their number depends on C alone: 8 C for the
    channels' values, 6 for texture and C - 1 for how each channel goes with the next.
    """
    # NumPy adds up a plane several times as fast as every third value.
    planes = np.moveaxis(prepared, -1, 0).astype(np.float32, order="C")
    planes /= 255
    # Values of other scales may be of any size, or no numbers.
    if not (planes.min() >= -_LARGEST and planes.max() <= _LARGEST):
        planes = np.clip(np.nan_to_num(planes), -_LARGEST, _LARGEST)
    flat = planes.reshape(len(planes), -1)
    count = flat.shape[1]
    means = flat.mean(axis=1)
    apart = flat - means[:, None]
    deviations = np.sqrt(np.array([np.dot(own, own) for own in apart]) / count)
    parts = [means, deviations, np.log(deviations + _EPSILON)]
    parts += list(np.percentile(flat[:, :: max(1, count // _SAMPLE)], _QUANTILES, axis=1))
    parts.append(_texture(planes.mean(axis=0)))
    for first, second in zip(range(len(flat) - 1), range(1, len(flat)), strict=True):
        spread = float(deviations[first] * deviations[second])
        together = float(np.dot(apart[first], apart[second])) / count
        parts.append(np.array([together / max(spread, 1e-9)]))
    return np.concatenate(parts).astype(np.float64)


def _texture(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logarithms of the mean differences at some distances, of noise, and of their ratios."""
    changes = []
    for lag in _LAGS:
        down = np.abs(grey[lag:] - grey[:-lag]).mean() if len(grey) > lag else 0.0
        across = np.abs(grey[:, lag:] - grey[:, :-lag]).mean() if grey.shape[1] > lag else 0.0
        changes.append(float(down + across))
    # Immerkaer 1996: what neither a step nor a slope leaves.
    noise = 0.0
    if min(grey.shape) > 2:
        second = grey[2:] - 2 * grey[1:-1] + grey[:-2]
        noise = float(np.abs(second[:, 2:] - 2 * second[:, 1:-1] + second[:, :-2]).mean())
    logs = [math.log(change + _EPSILON) for change in (*changes, noise)]
    return np.array([*logs, logs[0] - logs[1], logs[3] - logs[0]])


def some_windows(size: tuple[int, ...], window: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Rows and columns of five windows, fewer of a small image.

    Parameters
    ----------
    size : (height, width) of the image.
    window : (height, width) of a window, in pixels of the image.
    """
    spare = [max(0, whole - side) for whole, side in zip(size, window, strict=True)]
    places = {(spare[0] * y // 4, spare[1] * x // 4) for y, x in _WINDOWS}
    return [(slice(y, y + window[0]), slice(x, x + window[1])) for y, x in sorted(places)]


def window_figures(
    size: tuple[int, ...],
    window: tuple[int, int],
    prepared: Callable[[slice, slice], NDArray],
) -> NDArray[np.float64]:
    """The mean figures of some windows of an image that is never seen whole.

    Parameters
    ----------
    size, window : see `some_windows`.
    prepared : gives some rows and columns of the image as the network takes them [h, w, C].
    """
    return mean_figures(prepared(*place) for place in some_windows(size, window))


def mean_figures(shown: Iterable[NDArray]) -> NDArray[np.float64]:
    """The mean figures of what a network is shown of an image, prepared [h, w, C]."""
    return np.asarray(np.mean([image_figures(part) for part in shown], axis=0))


@dataclass(frozen=True, eq=False)
class HomeImages:
    """The distribution of the figures of a training's images.

    Attributes
    ----------
    centre, scale : [figures], mean and deviation of each.
    precision : [figures, figures], inverse of the shrunk correlation matrix.
    limits : [2], distances above which an image is foreign, and a stack of slices, of which the
        median counts.
    """

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    precision: NDArray[np.float64]
    limits: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        trained: NDArray[np.float64],
        groups: Sequence[str],
        validated: NDArray[np.float64],
        validated_groups: Sequence[str],
    ) -> HomeImages | None:
        """The distribution of the figures [images, figures] of training images.

        Parameters
        ----------
        groups : of each training image, the patient, volume or source image.
        validated : figures of images that nothing was trained on; may be empty.

        Returns None where there are fewer than `FEWEST` images.
        """
        if len(trained) < FEWEST:
            return None
        home = cls._fitted(trained)
        distances, owners = [home.distances(validated)], list(validated_groups)
        names = sorted(set(groups))
        if len(names) == 1:
            groups = [str(i) for i in range(len(trained))]
            names = sorted(groups)
        part = {name: i % min(_PARTS, len(names)) for i, name in enumerate(names)}
        parts = np.array([part[group] for group in groups])
        for left_out in range(min(_PARTS, len(names))):
            inside = parts != left_out
            distances.append(cls._fitted(trained[inside]).distances(trained[~inside]))
            owners += [g for g, own in zip(groups, parts, strict=True) if own == left_out]
        found = np.concatenate(distances)
        stacks: dict[str, list[float]] = {}
        for owner, distance in zip(owners, found, strict=True):
            stacks.setdefault(owner, []).append(float(distance))
        of_stacks = np.array([float(np.median(values)) for values in stacks.values()])
        limits = np.array([_limit(found), _limit(of_stacks)])
        return cls(home.centre, home.scale, home.precision, limits)

    @classmethod
    def _fitted(cls, figures: NDArray[np.float64]) -> HomeImages:
        centre = figures.mean(axis=0)
        scale = np.maximum(figures.std(axis=0), _LEAST_DEVIATION)
        standard = (figures - centre) / scale
        return cls(centre, scale, _precision(standard), np.zeros(2))

    def distances(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of figures [images, figures]: [images], about 1 for images of the training."""
        standard = (figures.reshape(-1, len(self.centre)) - self.centre) / self.scale
        squares = np.einsum("ni,ij,nj->n", standard, self.precision, standard)
        return np.sqrt(np.maximum(squares, 0) / len(self.centre))

    def strangeness(self, figures: Sequence[NDArray[np.float64]]) -> float:
        """Of an image, or of the slices of a stack: distance by limit, above 1 it is foreign."""
        distance = float(np.median(self.distances(np.array(figures))))
        return distance / float(self.limits[1 if len(figures) > 1 else 0])

    def as_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Name -> array, for a weights file, see `from_arrays`."""
        return {f"{_PREFIX}{name}": getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> HomeImages | None:
        """What `as_arrays` gave; None where it is missing, as in older packages.

        Raises
        ------
        ValueError : the arrays do not fit together.
        """
        names = [f"{_PREFIX}{name}" for name in _ARRAYS]
        if not arrays.keys() >= set(names):
            return None
        home = cls(*(np.asarray(arrays[name], np.float64) for name in names))
        count = home.centre.size
        shapes = tuple(getattr(home, name).shape for name in _ARRAYS)
        if shapes != ((count,), (count,), (count, count), (2,)):
            raise ValueError("the figures of the training images contradict each other")
        return home


def _precision(standard: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of the correlation matrix of standardised figures, shrunk as OAS says."""
    count, size = standard.shape
    sample = standard.T @ standard / count
    trace, squares = float(np.trace(sample)), float((sample**2).sum())
    mean = trace / size
    above = (1 - 2 / size) * squares + trace**2
    below = (count + 1 - 2 / size) * (squares - trace**2 / size)
    weight = 1.0 if below <= 0 else max(_LEAST_SHRINKAGE, min(1.0, above / below))
    mean = max(mean, _EPSILON)
    return np.linalg.inv((1 - weight) * sample + weight * mean * np.eye(size))


def _limit(distances: NDArray[np.float64]) -> float:
    """The distance beyond which about `_BEYOND` of home images lie; a little beyond few ones."""
    place = math.ceil((len(distances) + 1) * (1 - _BEYOND))
    ordered = np.sort(distances)
    if place <= len(ordered):
        return float(ordered[place - 1])
    return float(ordered[-1]) * (1 + 1 / math.sqrt(len(ordered)))
