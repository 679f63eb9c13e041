"""Patches of images at their own scale, for networks that are not shown whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.batch_plan import Samples
from flexseg.batches.store import Pair, Store
from flexseg.dataset.cases import Case
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.parallel import in_threads
from flexseg.files.preprocess import Preprocessing

# Of the patches of a training, those in whose middle is a pixel of a foreground class, as of
# nnU-Net (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z), and how many such pixels of each
# class of a case are at choice.
_FOREGROUND = 0.33
_PIXELS = 256
# More patches than these, which lie evenly over all, tell nothing new of a network in training.
MOST_VALIDATED = 512
# Tell these random numbers from those of others with the same seed.
_PLACE, _CHOICE = 5, 6


def windows(length: int, window: int, overlap: int) -> list[int]:
    """Where windows begin that cover 0..length, each neighbour sharing at least `overlap`.

    All steps but the last are `window - overlap`; the last window is shifted inwards to end at
    `length`. One window at 0 if `length` is not above `window`.

    Raises
    ------
    ValueError : the overlap is not below the window.
    """
    if not 0 <= overlap < window:
        raise ValueError(f"an overlap of {overlap} does not fit windows of {window}")
    if length <= window:
        return [0]
    starts = list(range(0, length - window, window - overlap))
    return [*starts, length - window]


def margins(length: int, window: int) -> tuple[int, int]:
    """What is mirrored before and behind an image that is smaller than a window."""
    missing = max(0, window - length)
    return missing // 2, missing - missing // 2


def grid(size: Sequence[int], patch: Sequence[int], overlap: int = 0) -> list[tuple[int, int]]:
    """First rows and columns of the windows that cover an image of this height and width."""
    rows, columns = (windows(n, side, overlap) for n, side in zip(size, patch, strict=True))
    return [*product(rows, columns)]


def cut(pair: Pair, top: int, left: int, preprocessing: Preprocessing) -> Pair:
    """The patch of a case that begins there, at the network's size.

    What a smaller image lacks is mirrored, as in predictions.

    Parameters
    ----------
    pair : image [H, W, C] as `Preprocessing.values` gives it, and class ids [H, W].
    preprocessing : with a `patch`.
    """
    height, width = preprocessing.patch or pair[1].shape
    part = slice(top, top + height), slice(left, left + width)
    image, labels = pair[0][part], pair[1][part]
    mirrored = margins(labels.shape[0], height), margins(labels.shape[1], width)
    if np.any(mirrored):
        image = np.pad(image, (*mirrored, (0, 0)), mode="reflect")
        labels = np.pad(labels, mirrored, mode="reflect")
    return preprocessing.at_size(image), preprocessing.labels(np.ascontiguousarray(labels))


@dataclass(frozen=True)
class RandomPatches:
    """A patch at a random place of each case that is asked for.

    A place is a function of seed, epoch and position alone. A third of the patches have a pixel of
    a foreground class in their middle, or as near to it as the border of the image allows: of a
    class drawn from those that the case shows.
    """

    store: Store
    seed: int
    _shown: dict[int, list[NDArray[np.int64]]] = field(default_factory=dict, repr=False)

    @property
    def cases(self) -> tuple[Case, ...]:
        """See `Samples`."""
        return self.store.cases

    def samples(self, indices: Sequence[int], epoch: int, position: int) -> list[Pair]:
        """See `Samples`."""
        return [
            self._sample(index, np.random.default_rng([self.seed, epoch, place, _PLACE]))
            for place, index in enumerate(indices, position)
        ]

    def _sample(self, index: int, rng: np.random.Generator) -> Pair:
        preprocessing = self.store.reader.preprocessing
        pair = self.store[index]
        size, patch = pair[1].shape, preprocessing.patch or pair[1].shape
        rooms = [max(0, length - side) for length, side in zip(size, patch, strict=True)]
        # Beyond the border by a quarter, and moved inwards: else the pixels of the border, which
        # one place in hundreds shows, would hardly be seen.
        start = [
            int(rng.integers(-(side // 4), room + side // 4 + 1))
            for side, room in zip(patch, rooms, strict=True)
        ]
        shown = self._foreground(index, pair[1])
        if shown and rng.random() < _FOREGROUND:
            middle = np.unravel_index(rng.choice(shown[rng.integers(len(shown))]), size)
            start = [int(pixel) - side // 2 for pixel, side in zip(middle, patch, strict=True)]
        top, left = (min(max(0, at), room) for at, room in zip(start, rooms, strict=True))
        return cut(pair, top, left, preprocessing)

    def _foreground(self, index: int, labels: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
        """Of each foreground class that a case shows, the places of some pixels."""
        if index not in self._shown:
            rng = np.random.default_rng([self.seed, index, _CHOICE])
            flat = labels.ravel()
            places = np.flatnonzero((flat > 0) & (flat != IGNORED))
            ids = flat[places]
            found = (places[ids == class_id] for class_id in np.unique(ids))
            self._shown[index] = [own[rng.integers(len(own), size=_PIXELS)] for own in found]
        return self._shown[index]


@dataclass(frozen=True)
class PatchGrid:
    """Patches side by side that cover all cases, the same in every epoch.

    Attributes
    ----------
    places : case, first row and first column of each.
    """

    store: Store
    places: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, store: Store) -> PatchGrid:
        """All patches, or 512 that lie evenly among them; every case is decoded for it.

        Raises
        ------
        DataError : a case cannot be read.
        """
        patch = store.reader.preprocessing.patch
        sizes = in_threads(lambda i: store.labels(i).shape, range(len(store)))
        places = [
            (index, top, left)
            for index, size in enumerate(sizes)
            for top, left in grid(size, patch or size)
        ]
        chosen = np.linspace(0, len(places) - 1, min(len(places), MOST_VALIDATED)).round()
        return cls(store, tuple(places[int(i)] for i in chosen))

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """See `Samples`."""
        return tuple(self.store.cases[index] for index, _, _ in self.places)

    def samples(self, indices: Sequence[int], epoch: int, position: int) -> list[Pair]:
        """See `Samples`."""
        preprocessing = self.store.reader.preprocessing
        chosen = [self.places[index] for index in indices]
        return [cut(self.store[case], top, left, preprocessing) for case, top, left in chosen]


def training_samples(store: Store, seed: int) -> Samples:
    """What a network in training sees of the cases of a store: whole images, or random patches."""
    return store if store.reader.preprocessing.patch is None else RandomPatches(store, seed)


def validation_samples(store: Store) -> Samples:
    """What is shown of them where it has to be the same each time."""
    return store if store.reader.preprocessing.patch is None else PatchGrid.of(store)
