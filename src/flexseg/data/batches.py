"""Batches for training: the same ones for the same seed, whoever prepares them."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg.backend import fixed_shapes
from flexseg.data.pairing import Case
from flexseg.data.store import Store
from flexseg.errors import ResourceError


@dataclass(frozen=True)
class BatchPlan:
    """Which cases make up which batch: a function of seed, epoch and index alone.

    Attributes
    ----------
    count : number of cases.
    steps : None: each epoch visits every case once. A number: each epoch draws that many
        batches at random.
    fill : complete the last batch of an epoch with the epoch's first cases. Engines compile
        for one shape, and run it faster than a varying one.
    """

    count: int
    batch_size: int
    seed: int = 0
    shuffle: bool = False
    steps: int | None = None
    fill: bool = False

    def __len__(self) -> int:
        """Batches of one epoch."""
        return self.steps or -(-self.count // self.batch_size)

    def indices(self, epoch: int, batch: int) -> list[int]:
        """The cases of one batch."""
        if self.steps is not None:
            rng = np.random.default_rng([self.seed, epoch, batch])
            size = min(self.batch_size, self.count)
            return [int(i) for i in rng.choice(self.count, size, replace=False)]
        order = self._order(epoch)
        start = batch * self.batch_size
        if self.fill:
            return [int(order[i % self.count]) for i in range(start, start + self.batch_size)]
        return [int(i) for i in order[start : start + self.batch_size]]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.count)
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)


Pair = tuple[NDArray, NDArray[np.uint8]]


class Augment(Protocol):
    """Makes a batch of cases, changing each pair as the epoch and its place there say."""

    def batch(
        self, cases: Sequence[Case], pairs: Sequence[Pair], epoch: int, position: int
    ) -> tuple[Any, NDArray[np.uint8]]:
        """Inputs and class ids [B, H, W] of pairs (image [H, W, C], class ids [H, W]).

        The first pair has the place `position` in the epoch.
        """


@dataclass(frozen=True)
class BatchMaker:
    """Makes any batch of any epoch; picklable, for workers in other processes."""

    store: Store
    plan: BatchPlan
    augment: Augment | None = None

    def __call__(self, epoch: int, batch: int) -> tuple[Any, NDArray[np.uint8]]:
        """Inputs and class ids [B, H, W] of one batch."""
        indices = self.plan.indices(epoch, batch)
        if self.augment is None:
            return self.store.batch(indices)
        cases = [self.store.cases[i] for i in indices]
        pairs = [self.store[i] for i in indices]
        return self.augment.batch(cases, pairs, epoch, batch * self.plan.batch_size)


# One per worker process, set when the worker starts.
_of_worker: dict[str, BatchMaker] = {}


def _start_worker(maker: BatchMaker) -> None:
    # Ctrl-C reaches the whole process group; only the main process decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _of_worker["maker"] = maker


def _make_in_worker(epoch: int, batch: int) -> tuple[Any, NDArray[np.uint8]]:
    return _of_worker["maker"](epoch, batch)


class BatchDataset(keras.utils.PyDataset):
    """Batches (images [B, H, W, C], class ids [B, H, W] uint8) for `fit`, prepared ahead.

    With an `augment` for the device, the first is a dict of its arrays, the images among them.

    Workers run ahead of the training by `ahead` batches. `set_epoch` chooses the epoch;
    `start` skips the first batches of it, to resume in its middle.
    """

    def __init__(
        self,
        store: Store,
        plan: BatchPlan,
        *,
        augment: Augment | None = None,
        workers: int = 0,
        worker_type: Literal["thread", "process"] = "thread",
        ahead: int = 4,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.store = store
        self.plan = plan
        self.make = BatchMaker(store, plan, augment)
        self.epoch = 0
        self.start = 0
        self.error: BaseException | None = None
        # Batch -> (when it was handed over, how long the training's request for it took).
        self.delivered: dict[int, tuple[float, float]] = {}
        self._ahead = ahead
        self._worker_count = workers
        self._worker_type = worker_type
        self._executor: Executor | None = None
        self._futures: dict[int, Future[Any]] = {}

    @property
    def num_batches(self) -> int:
        """Batches that this epoch still has."""
        return len(self.plan) - self.start

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and its first batch."""
        if (epoch, start) != (self.epoch, self.start):
            self._cancel()
        self.epoch, self.start = epoch, start
        self.delivered.clear()

    def feed(self) -> Any:
        """What `fit` takes: these batches, for TensorFlow with their shapes made known."""
        return fixed_shapes(self, self.num_batches) if self.plan.fill else self

    def cases_of(self, batch: int) -> list[Case]:
        """The cases of batch `batch`, counted from the start of the epoch."""
        return [self.store.cases[i] for i in self.plan.indices(self.epoch, batch)]

    def __getitem__(self, index: int) -> tuple[Any, NDArray[np.uint8]]:
        """Batch `index`, counted from `start`."""
        asked = time.perf_counter()
        try:
            batch = self._fetch(self.start + index)
        except BaseException as error:
            # The engine may wrap the error beyond recognition; the trainer asks for it here.
            self.error = error
            raise
        now = time.perf_counter()
        self.delivered[index] = (now, now - asked)
        return batch

    def _fetch(self, batch: int) -> tuple[Any, NDArray[np.uint8]]:
        if self._worker_count == 0:
            return self.make(self.epoch, batch)
        executor = self._executor or self._start()
        for ahead in range(batch, min(batch + self._ahead, len(self.plan))):
            if ahead not in self._futures:
                self._futures[ahead] = self._submit(executor, ahead)
        try:
            return self._futures.pop(batch).result()
        except BrokenProcessPool:
            raise ResourceError(
                "A worker process was ended by the system, most probably for lack of memory.",
                "Set dataset.workers to a smaller number, or dataset.worker_type = 'thread'.",
            ) from None

    def _submit(self, executor: Executor, batch: int) -> Future[Any]:
        if self._worker_type == "process":
            return executor.submit(_make_in_worker, self.epoch, batch)
        return executor.submit(self.make, self.epoch, batch)

    def _start(self) -> Executor:
        if self._worker_type == "process":
            # Spawn everywhere: a forked child of a process with engine threads can hang.
            self._executor = ProcessPoolExecutor(
                self._worker_count,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(self.make,),
            )
        else:
            self._executor = ThreadPoolExecutor(self._worker_count)
        return self._executor

    def _cancel(self) -> None:
        for future in self._futures.values():
            future.cancel()
        self._futures.clear()

    def close(self) -> None:
        """Stop the workers."""
        self._cancel()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
