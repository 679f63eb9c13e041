"""The batches of a training, for any number of images per step."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.batch_dataset import BatchDataset
from flexseg.batches.batch_plan import Augment, BatchPlan
from flexseg.batches.store import CaseReader, Store, open_store, record_bytes
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.splits import SplitName
from flexseg.models.package import ModelPackage


class Feed:
    """Decoded cases, which stay, and batches of them, which are made anew for another size.

    Parameters
    ----------
    cases : of the splits; those of "train" are augmented, those of "valid" never.
    """

    def __init__(
        self,
        experiment: Experiment,
        package: ModelPackage,
        cases: Mapping[SplitName, tuple[Case, ...]],
        augment: Augment | None,
    ) -> None:
        self.experiment = experiment
        self.augment = augment
        self.datasets: list[BatchDataset] = []
        self.stores = self._open_stores(package, cases)

    @property
    def drawn(self) -> bool:
        """Whether each step draws cases at random, and an epoch is a number of steps."""
        return self.experiment.model.generator

    @property
    def steps(self) -> int | None:
        """Steps of an epoch, whatever the size of the batches; None: as many as show each case."""
        train = self.experiment.train
        return train.epoch_steps or (train.steps_per_epoch if self.drawn else None)

    @property
    def error(self) -> BaseException | None:
        """What went wrong as a batch was made; engines wrap it beyond recognition."""
        return next((d.error for d in self.datasets if d.error is not None), None)

    def _open_stores(
        self, package: ModelPackage, cases: Mapping[SplitName, tuple[Case, ...]]
    ) -> dict[SplitName, Store]:
        e = self.experiment
        reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
        budget = e.dataset.cache_gb * 2**30
        stores: dict[SplitName, Store] = {}
        names: tuple[SplitName, ...] = ("train", "valid")
        for split in names:
            if not cases.get(split):
                continue
            store = open_store(
                cases[split],
                reader,
                cache=e.dataset.cache,
                cache_bytes=budget,
                cache_file=e.train.model_dir / f"cache_{split}.bin",
                shared=e.dataset.worker_type == "process" and e.dataset.workers > 0,
            )
            if store.memory is not None:
                budget -= len(store) * record_bytes(reader.preprocessing, store.dtype)
            stores[split] = store
        return stores

    @cached_property
    def by_class(self) -> tuple[tuple[int, ...], ...]:
        """The training cases that show a class, at the network's size, for every foreground class
        that there is; empty without `oversample`. All are decoded for it, once."""
        if not self.experiment.train.oversample:
            return ()
        store = self.stores["train"]
        shown: dict[int, list[int]] = {}
        with ThreadPoolExecutor(max(1, self.experiment.dataset.workers)) as pool:
            for i, classes in enumerate(pool.map(lambda i: _classes(store, i), range(len(store)))):
                for class_id in classes:
                    shown.setdefault(class_id, []).append(i)
        return tuple(tuple(shown[class_id]) for class_id in sorted(shown))

    def batches_of(self, size: int) -> list[BatchDataset]:
        """Batches of `size` images of the training and, if there are any, of the validation."""
        self._close_datasets()
        dataset = self.experiment.dataset
        self.datasets = [
            BatchDataset(
                store,
                self._plan(split, size),
                augment=self.augment if split == "train" else None,
                workers=dataset.workers,
                worker_type=dataset.worker_type,
            )
            for split, store in self.stores.items()
        ]
        return self.datasets

    def sample(self, size: int) -> tuple[Any, NDArray[np.uint8]]:
        """One batch of the training, see `BatchDataset`."""
        return BatchDataset(self.stores["train"], self._plan("train", size), augment=self.augment)[
            0
        ]

    def _plan(self, split: SplitName, size: int) -> BatchPlan:
        train = self.experiment.train
        count = len(self.stores[split])
        if split != "train":
            return BatchPlan(count, size, train.seed)
        return BatchPlan(
            count,
            size,
            train.seed,
            shuffle=train.shuffle,
            steps=self.steps,
            drawn=self.drawn,
            by_class=self.by_class,
            oversample=train.oversample,
            fill=True,
        )

    def _close_datasets(self) -> None:
        for dataset in self.datasets:
            dataset.close()

    def close(self) -> None:
        """Stop the workers and remove the caches."""
        self._close_datasets()
        for store in self.stores.values():
            store.close()


def _classes(store: Store, index: int) -> list[int]:
    """The foreground classes of a case."""
    counts = np.bincount(store.labels(index).ravel())
    return [int(class_id) for class_id in np.flatnonzero(counts[1:]) + 1]
