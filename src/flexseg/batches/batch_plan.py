"""Which cases make up which batch, and how a batch is made.

Worker processes import this module: it does without Keras, which takes them seconds and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import Pair
from flexseg.dataset.cases import Case
from flexseg.execution.child_processes import begin_worker

# Tells the random numbers of drawing by class from those of the order.
_BY_CLASS = 3


@dataclass(frozen=True)
class BatchPlan:
    """Which cases make up which batch: a function of seed, epoch and index alone.

    Attributes
    ----------
    count : number of cases.
    steps : None: each epoch visits every case once. A number: each epoch has that many batches.
    drawn : these are drawn at random, each on its own; else the order of the cases, in which
        each comes once before any comes again, goes on from one epoch to the next.
    by_class : the cases that show a class, for every class.
    oversample : share of the samples that are drawn by class: first the class, then a case.
    fill : complete the last batch of an epoch with the epoch's first cases. Engines compile
        for one shape, and run it faster than a varying one.
    """

    count: int
    batch_size: int
    seed: int = 0
    shuffle: bool = False
    steps: int | None = None
    drawn: bool = True
    by_class: tuple[tuple[int, ...], ...] = ()
    oversample: float = 0.0
    fill: bool = False

    def __len__(self) -> int:
        """Batches of one epoch."""
        return self.steps or -(-self.count // self.batch_size)

    def indices(self, epoch: int, batch: int) -> list[int]:
        """The cases of one batch."""
        chosen = self._evenly(epoch, batch)
        if not (self.oversample and self.by_class):
            return chosen
        rng = np.random.default_rng([self.seed, epoch, batch, _BY_CLASS])
        for place in np.flatnonzero(rng.random(len(chosen)) < self.oversample):
            cases = self.by_class[rng.integers(len(self.by_class))]
            chosen[place] = cases[rng.integers(len(cases))]
        return chosen

    def _evenly(self, epoch: int, batch: int) -> list[int]:
        if self.steps is not None and self.drawn:
            rng = np.random.default_rng([self.seed, epoch, batch])
            size = min(self.batch_size, self.count)
            return [int(i) for i in rng.choice(self.count, size, replace=False)]
        if self.steps is not None:
            first = (epoch * self.steps + batch) * self.batch_size
            places = [divmod(i, self.count) for i in range(first, first + self.batch_size)]
            return [int(self._order(turn)[place]) for turn, place in places]
        order = self._order(epoch)
        start = batch * self.batch_size
        if self.fill:
            return [int(order[i % self.count]) for i in range(start, start + self.batch_size)]
        return [int(i) for i in order[start : start + self.batch_size]]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.count)
        return _permutation(self.count, self.seed, epoch)


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Cached, as every batch of an epoch asks for it."""
    return np.random.default_rng([seed, epoch]).permutation(count)


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of several processes makes.

    Attributes
    ----------
    process : number of it, from 0, of `processes`.
    devices : of all processes together; each sees as many images of a batch as the others.
    """

    process: int = 0
    processes: int = 1
    devices: int = 1

    def padded(self, length: int, batch_size: int) -> int:
        """The length that a batch of `length` cases is given, so that devices can share it.

        It tells that the batch was made longer: no other batch is as long.
        """
        if length % self.devices == 0:
            return length
        longer = -(-length // self.devices) * self.devices
        return longer if longer != batch_size else longer + self.devices

    def of(self, cases: list[int], batch_size: int) -> tuple[int, list[int]]:
        """The place in the batch where the part begins, and its cases."""
        padded = self.padded(len(cases), batch_size)
        each = padded // self.processes
        first = self.process * each
        longer = cases + cases[-1:] * (padded - len(cases))
        return first, longer[first : first + each]


# Of a process that trains alone.
WHOLE = Share()

# Images, alone or among the arrays of an augmentation on the device, and class ids.
Batch = tuple[NDArray | dict[str, NDArray], NDArray[np.uint8]]


class Samples(Protocol):
    """What a network sees of cases, by index: whole images, or patches of them."""

    @property
    def cases(self) -> tuple[Case, ...]:
        """The case that each sample is of."""

    def samples(self, indices: Sequence[int], epoch: int, position: int) -> list[Pair]:
        """Images [h, w, C] and class ids [h, w] at the network's size.

        The first has the place `position` in the epoch; the same place gives the same sample.
        """


class Augment(Protocol):
    """Makes a batch of cases, changing each pair as the epoch and its place there say."""

    def batch(
        self, cases: Sequence[Case], pairs: Sequence[Pair], epoch: int, position: int
    ) -> Batch:
        """Inputs and class ids [B, H, W] of pairs (image [H, W, C], class ids [H, W]).

        The first pair has the place `position` in the epoch.
        """


@dataclass(frozen=True)
class BatchMaker:
    """Makes any batch of any epoch; picklable, for workers in other processes."""

    source: Samples
    plan: BatchPlan
    augment: Augment | None = None
    share: Share = WHOLE

    def __call__(self, epoch: int, batch: int) -> Batch:
        """Inputs and class ids [B, H, W] of one batch, or of this process's part of it."""
        size = self.plan.batch_size
        first, indices = self.share.of(self.plan.indices(epoch, batch), size)
        position = batch * size + first
        pairs = self.source.samples(indices, epoch, position)
        if self.augment is None:
            images, labels = zip(*pairs, strict=True)
            return np.stack(images), np.stack(labels)
        cases = [self.source.cases[i] for i in indices]
        return self.augment.batch(cases, pairs, epoch, position)


# One per worker process, set when the worker starts.
_of_worker: dict[str, BatchMaker] = {}


def start_worker(maker: BatchMaker) -> None:
    """Prepare a worker process."""
    begin_worker()
    _of_worker["maker"] = maker


def make_in_worker(epoch: int, batch: int) -> Batch:
    """A batch, in a worker process; see `BatchMaker`."""
    return _of_worker["maker"](epoch, batch)
