"""The images whose spectra resemble that of another one most, among any number of images.

Up to `_WHOLE` images are all compared, by a matrix product. More are divided into cells around some
of them first, and each image is compared with those in the cells that it is nearest to: a number
that does not grow with the dataset. What is alike lies in one of these cells, so copies are found;
images that are less alike may be missed.

Spectra are read piece by piece, and again for each block of images that are looked up, so that
only the numbers of the images take memory that grows with the dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Indices = NDArray[np.intp]
Array = TypeVar("Array", Rows, Indices)
# Of images by their indices, at one of the scales: [n, circles, waves] complex64.
Spectra = Callable[[Indices, int], NDArray[np.complex64]]

SCALES = (1.0, 0.9, 0.8)
SCALE_PAIRS = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0))
CIRCLES = 16
WAVES = 16  # angular frequencies kept

_CANDIDATES = 64  # per image
_WHOLE = 16384
# Images in a cell on average, at most, and cells that are looked into, of each pair of scales.
_CELL, _CELL_LIMIT, _PROBES = 1024, 8192, 8
_SAMPLED = 4096  # images of cells whose mean stands for that of all
_BLOCK = 2048  # images that are looked up together
_PIECE = 1024  # images of a cell that are in memory
# Images that are compared with those by one product: many, as threads share it; and that are
# read, or whose best ones are chosen, at once.
_COMPARED, _AT_ONCE = 512, 64


def nearest(spectra: Spectra, queries: Indices, others: Indices) -> Iterator[tuple[int, Indices]]:
    """Each query with those of `others` whose magnitudes are most similar, up to 64 of them."""
    if len(others) <= _CANDIDATES:
        yield from ((query, others) for query in queries.tolist())
    else:
        yield from _Cells(spectra, others).nearest(queries)


class _Cells:
    """Images by the one of some of them, chosen at random, that each is most similar to.

    At every scale that an image may be compared at there is a division of its own. Few images are
    one cell.
    """

    def __init__(self, spectra: Spectra, others: Indices) -> None:
        self._spectra, self._others = spectra, others
        some, count = others, 1
        if len(others) > _WHOLE:
            rng = np.random.default_rng(0)
            some = rng.choice(others, min(len(others), _SAMPLED), replace=False)
            count = -(-len(others) // _CELL)
        total = sum(self._magnitudes(piece, 0).sum(axis=0) for piece in _pieces(some, _PIECE))
        self._mean = total / np.float32(len(some))
        self._centers = [self._unit_rows(some[:count], scale) for scale in range(len(SCALES))]
        self._members = [self._divided(scale) for scale in range(len(SCALES))]

    def _magnitudes(self, indices: Indices, scale: int) -> Rows:
        weights = np.sqrt(wave_weights())
        rows = np.empty((len(indices), CIRCLES * WAVES), np.float32)
        for own, piece in zip(_pieces(rows, _AT_ONCE), _pieces(indices, _AT_ONCE), strict=True):
            own[:] = (np.abs(self._spectra(piece, scale)) * weights).reshape(own.shape)
        return rows

    def _unit_rows(self, indices: Indices, scale: int) -> Rows:
        rows = self._magnitudes(indices, scale) - self._mean
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)

    def _divided(self, scale: int) -> list[Indices]:
        """The images of each cell."""
        centers = self._centers[scale].T
        if centers.shape[1] == 1:
            return [self._others]
        cell = np.concatenate([
            (self._unit_rows(piece, scale) @ centers).argmax(axis=1).astype(np.int32)
            for piece in _pieces(self._others, _PIECE)
        ])  # fmt: skip
        order = np.argsort(cell, kind="stable")
        bounds = np.searchsorted(cell[order], np.arange(1, centers.shape[1]))
        return [self._others[own[:_CELL_LIMIT]] for own in np.split(order, bounds)]

    def nearest(self, queries: Indices) -> Iterator[tuple[int, Indices]]:
        for block in _pieces(queries, _BLOCK):
            asked = [self._unit_rows(block, scale) for scale in range(len(SCALES))]
            best = [self._best(asked, scale) for scale in range(len(SCALES))]
            for row, query in enumerate(block.tolist()):
                scores = np.concatenate([own[row] for own, _ in best])
                found = np.concatenate([own[row] for _, own in best])
                ordered = found[np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()]]
                yield query, np.array([*dict.fromkeys(ordered.tolist())][:_CANDIDATES], np.intp)

    def _best(self, asked: list[Rows], scale: int) -> tuple[Rows, Indices]:
        """Of images at this scale the most similar ones to each query at the scales that fit."""
        count = len(asked[0])
        scores = np.full((count, _CANDIDATES), -np.inf, np.float32)
        found = np.zeros((count, _CANDIDATES), np.intp)
        own = [asked[i] for i, j in SCALE_PAIRS if j == scale]
        looked_at = np.zeros((count, len(self._members[scale])), bool)
        for one in own:
            near = one @ self._centers[scale].T
            probes = min(_PROBES, near.shape[1])
            chosen = np.argpartition(-near, probes - 1, axis=1)[:, :probes]
            np.put_along_axis(looked_at, chosen, True, axis=1)
        for cell, members in enumerate(self._members[scale]):
            asking = np.flatnonzero(looked_at[:, cell])
            if not len(asking):
                continue
            for piece in _pieces(members, _PIECE):
                known = self._unit_rows(piece, scale).T
                for some in _pieces(asking, _COMPARED):
                    table = _highest(one[some] @ known for one in own)
                    for rows, new in zip(
                        _pieces(some, _AT_ONCE), _pieces(table, _AT_ONCE), strict=True
                    ):
                        scores[rows], found[rows] = _merged(scores[rows], found[rows], new, piece)
        return scores, found


def _merged(scores: Rows, found: Indices, new: Rows, images: Indices) -> tuple[Rows, Indices]:
    """The highest scores [n, 64] and their images, of those found and of new ones."""
    every = np.concatenate([scores, new], axis=1)
    which = np.concatenate([found, np.broadcast_to(images, new.shape)], axis=1)
    top = np.argpartition(-every, _CANDIDATES - 1, axis=1)[:, :_CANDIDATES]
    return np.take_along_axis(every, top, axis=1), np.take_along_axis(which, top, axis=1)


def _pieces(array: Array, size: int) -> Iterator[Array]:
    """An array in pieces of at most `size` rows."""
    return (array[start : start + size] for start in range(0, len(array), size))


def _highest(tables: Iterable[Rows]) -> Rows:
    """The maximum of several tables, two of which are in memory at a time."""
    left = iter(tables)
    highest = next(left)
    for table in left:
        np.maximum(highest, table, out=highest)
    return highest


@cache
def wave_weights() -> Rows:
    """How often each frequency of a real signal counts: the negative ones are not stored."""
    return np.where(np.arange(WAVES) == 0, 1, 2).astype(np.float32)
