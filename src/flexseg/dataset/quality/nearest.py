"""The images whose spectra resemble that of another one most, among any number of images.

Up to `_WHOLE` images are all compared, by a matrix product. More are divided into cells around some
of them first, and each image is compared with those in the cells that it is nearest to: a number
that does not grow with the dataset. What is alike lies in one of these cells, so copies are found;
images that are less alike may be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Indices = NDArray[np.intp]
# Of an image by its index: [scales, circles, waves] complex64.
Spectrum = Callable[[int], NDArray[np.complex64]]

SCALES = (1.0, 0.9, 0.8)
SCALE_PAIRS = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0))
CIRCLES = 16
WAVES = 16  # angular frequencies kept

_CANDIDATES = 64  # per image
_WHOLE = 16384
_AT_ONCE = 64
# Images in a cell on average, at most, and cells that are looked into, of each pair of scales.
_CELL, _CELL_LIMIT, _PROBES = 1024, 8192, 8
_BLOCK = 4096  # images that are looked up together, in so many cells


def nearest(spectrum: Spectrum, queries: Indices, others: Indices) -> Iterator[tuple[int, Indices]]:
    """Each query with those of `others` whose magnitudes are most similar, up to 64 of them."""
    keep = min(_CANDIDATES, len(others))
    if keep == len(others):
        yield from ((query, others) for query in queries.tolist())
    elif len(others) <= _WHOLE:
        yield from _of_all(spectrum, queries, others, keep)
    else:
        yield from _Cells(spectrum, others).nearest(queries)


def _of_all(
    spectrum: Spectrum, queries: Indices, others: Indices, keep: int
) -> Iterator[tuple[int, Indices]]:
    known = [_magnitudes(spectrum, others, scale) for scale in range(len(SCALES))]
    mean = known[0].mean(axis=0)
    for scale, values in enumerate(known):
        known[scale] = _unit(values - mean)
    for start in range(0, len(queries), _AT_ONCE):
        block = queries[start : start + _AT_ONCE]
        asked = [_unit(_magnitudes(spectrum, block, s) - mean) for s in range(len(SCALES))]
        score = _highest(asked[i] @ known[j].T for i, j in SCALE_PAIRS)
        found = np.argpartition(-score, keep - 1, axis=1)[:, :keep]
        yield from zip(block.tolist(), others[found], strict=True)


class _Cells:
    """Images by the one of some of them, chosen at random, that each is most similar to.

    At every scale that an image may be compared at there is a division of its own.
    """

    def __init__(self, spectrum: Spectrum, others: Indices) -> None:
        self._spectrum, self._others = spectrum, others
        rng = np.random.default_rng(0)
        some = rng.choice(others, min(len(others), _BLOCK), replace=False)
        self._mean = _magnitudes(spectrum, some, 0).mean(axis=0)
        centers = some[: -(-len(others) // _CELL)]
        self._centers = [self._unit_rows(centers, scale) for scale in range(len(SCALES))]
        self._members = [self._divided(scale) for scale in range(len(SCALES))]

    def _unit_rows(self, indices: Indices, scale: int) -> Rows:
        return _unit(_magnitudes(self._spectrum, indices, scale) - self._mean)

    def _divided(self, scale: int) -> list[Indices]:
        """The images of each cell."""
        centers = self._centers[scale].T
        cell = np.empty(len(self._others), np.int32)
        for start in range(0, len(cell), _BLOCK):
            rows = self._unit_rows(self._others[start : start + _BLOCK], scale)
            cell[start : start + _BLOCK] = (rows @ centers).argmax(axis=1)
        order = np.argsort(cell, kind="stable")
        bounds = np.searchsorted(cell[order], np.arange(1, centers.shape[1]))
        return [self._others[own[:_CELL_LIMIT]] for own in np.split(order, bounds)]

    def nearest(self, queries: Indices) -> Iterator[tuple[int, Indices]]:
        for start in range(0, len(queries), _BLOCK):
            block = queries[start : start + _BLOCK]
            asked = [self._unit_rows(block, scale) for scale in range(len(SCALES))]
            best = [self._best(asked, scale) for scale in range(len(SCALES))]
            scores, found = (np.concatenate(own, axis=1) for own in zip(*best, strict=True))
            order = np.argsort(-scores, axis=1, kind="stable")
            for row, query in enumerate(block.tolist()):
                ordered = found[row, order[row]][np.isfinite(scores[row, order[row]])]
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
            if not (len(asking) and len(members)):
                continue
            known = self._unit_rows(members, scale).T
            for start in range(0, len(asking), _AT_ONCE):
                rows = asking[start : start + _AT_ONCE]
                new = _highest(one[rows] @ known for one in own)
                every = np.concatenate([scores[rows], new], axis=1)
                which = np.concatenate([found[rows], np.broadcast_to(members, new.shape)], axis=1)
                top = np.argpartition(-every, _CANDIDATES - 1, axis=1)[:, :_CANDIDATES]
                scores[rows] = np.take_along_axis(every, top, axis=1)
                found[rows] = np.take_along_axis(which, top, axis=1)
        return scores, found


def _magnitudes(spectrum: Spectrum, indices: Indices, scale: int) -> Rows:
    weights = np.sqrt(wave_weights())
    rows = np.empty((len(indices), weights.size * CIRCLES), np.float32)
    for row, index in zip(rows, indices.tolist(), strict=True):
        row[:] = (np.abs(spectrum(index)[scale]) * weights).ravel()
    return rows


def _highest(tables: Iterable[Rows]) -> Rows:
    """The maximum of several tables, two of which are in memory at a time."""
    left = iter(tables)
    highest = next(left)
    for table in left:
        np.maximum(highest, table, out=highest)
    return highest


def _unit(rows: Rows) -> Rows:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


@cache
def wave_weights() -> Rows:
    """How often each frequency of a real signal counts: the negative ones are not stored."""
    return np.where(np.arange(WAVES) == 0, 1, 2).astype(np.float32)
