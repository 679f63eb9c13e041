"""Batches for training: the same ones for the same seed, whoever prepares them."""

from __future__ import annotations

import multiprocessing
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Literal

import keras

from flexseg.backend import fixed_shapes
from flexseg.batches.batch_plan import (
    WHOLE,
    Augment,
    Batch,
    BatchMaker,
    BatchPlan,
    Samples,
    Share,
    make_in_worker,
    start_worker,
)
from flexseg.dataset.cases import Case
from flexseg.errors import ResourceError

# Windows waits for so many at once.
_MOST_PROCESSES = 61 if sys.platform == "win32" else 1 << 10


class BatchDataset(keras.utils.PyDataset):
    """Batches (images [B, H, W, C], class ids [B, H, W] uint8) for `fit`, prepared ahead.

    With an `augment` for the device, the first is a dict of its arrays, the images among them.

    Workers run ahead of the training by `ahead` batches. `set_epoch` chooses the epoch;
    `start` skips the first batches of it, to resume in its middle. Of a training of several
    processes each has its `share` of every batch.
    """

    def __init__(
        self,
        source: Samples,
        plan: BatchPlan,
        *,
        augment: Augment | None = None,
        share: Share = WHOLE,
        workers: int = 0,
        worker_type: Literal["thread", "process"] = "thread",
        ahead: int = 4,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.source = source
        self.plan = plan
        self.make = BatchMaker(source, plan, augment, share)
        self.epoch = 0
        self.start = 0
        self.error: BaseException | None = None
        # Batch -> (when it was handed over, how long the training's request for it took).
        self.delivered: dict[int, tuple[float, float]] = {}
        self._ahead = ahead
        self._worker_count = workers
        self._worker_type = worker_type
        self._executor: Executor | None = None
        self._futures: dict[int, Future[Batch]] = {}

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

    def for_fit(self) -> Any:
        """What Keras' `fit` takes: these batches, for TensorFlow with their shapes made known."""
        return fixed_shapes(self, self.num_batches) if self.plan.fill else self

    def cases_of(self, batch: int) -> list[Case]:
        """The cases of batch `batch`, counted from the start of the epoch."""
        return [self.source.cases[i] for i in self.plan.indices(self.epoch, batch)]

    def __getitem__(self, index: int) -> Batch:
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

    def _fetch(self, batch: int) -> Batch:
        if self._worker_count == 0:
            return self.make(self.epoch, batch)
        executor = self._executor or self._start()
        try:
            for ahead in range(batch, min(batch + self._ahead, len(self.plan))):
                if ahead not in self._futures:
                    self._futures[ahead] = self._submit(executor, ahead)
            return self._futures.pop(batch).result()
        except BrokenProcessPool:
            raise ResourceError(
                "The system ended a worker process, most probably for lack of memory.",
                "Set dataset.workers to a smaller number, or dataset.worker_type = 'thread'. A "
                "script of your own starts its work below `if __name__ == '__main__':`.",
            ) from None

    def _submit(self, executor: Executor, batch: int) -> Future[Batch]:
        if self._worker_type == "process":
            return executor.submit(make_in_worker, self.epoch, batch)
        return executor.submit(self.make, self.epoch, batch)

    def _start(self) -> Executor:
        if self._worker_type == "process":
            # Spawn everywhere: a forked child of a process with engine threads can hang.
            self._executor = ProcessPoolExecutor(
                min(self._worker_count, _MOST_PROCESSES),
                mp_context=multiprocessing.get_context("spawn"),
                initializer=start_worker,
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
