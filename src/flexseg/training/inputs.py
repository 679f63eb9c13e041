"""The batches of a training, for any number of images per step."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.batch_dataset import BatchDataset
from flexseg.batches.batch_plan import WHOLE, Augment, BatchPlan, Samples, Share
from flexseg.batches.patches import training_samples, validation_samples
from flexseg.batches.store import CaseReader, Store, open_store
from flexseg.config.schema import DatasetConfig
from flexseg.config.train import TrainConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.parallel import in_threads
from flexseg.model_file.contrast import least_contrast
from flexseg.model_file.home_images import HomeImages, mean_figures, some_windows

# Images of a split that tell what the training's images look like.
_LOOKED_AT = 200


class InputPipeline:
    """Decoded cases, which stay, and batches of them, which are made anew for another size.

    Parameters
    ----------
    cases : of the splits; those of "train" are augmented, those of "valid" never.
    reader : decodes them.
    dataset : how decoded cases are stored, and who makes batches.
    drawn : each step draws cases at random, and an epoch is a number of steps.
    share : of each batch, what this process makes.
    """

    def __init__(
        self,
        cases: Mapping[SplitName, tuple[Case, ...]],
        reader: CaseReader,
        train: TrainConfig,
        dataset: DatasetConfig,
        augment: Augment | None = None,
        *,
        drawn: bool = False,
        share: Share = WHOLE,
    ) -> None:
        self.train = train
        self.dataset = dataset
        self.augment = augment
        self.drawn = drawn
        self.share = share
        self.batches: list[BatchDataset] = []
        self.stores = self._open_stores(cases, reader)
        self.samples: dict[SplitName, Samples] = {
            split: training_samples(store, train.seed)
            if split == "train"
            else validation_samples(store)
            for split, store in self.stores.items()
        }

    @property
    def steps(self) -> int | None:
        """Steps of an epoch, whatever the size of the batches; None: as many as show each case."""
        return self.train.epoch_steps or (self.train.steps_per_epoch if self.drawn else None)

    @property
    def error(self) -> BaseException | None:
        """What went wrong as a batch was made; engines wrap it beyond recognition."""
        return next((d.error for d in self.batches if d.error is not None), None)

    def _open_stores(
        self, cases: Mapping[SplitName, tuple[Case, ...]], reader: CaseReader
    ) -> dict[SplitName, Store]:
        dataset = self.dataset
        budget = dataset.cache_gb * 2**30
        stores: dict[SplitName, Store] = {}
        names: tuple[SplitName, ...] = ("train", "valid")
        for split in names:
            if not cases.get(split):
                continue
            store = open_store(
                cases[split],
                reader,
                cache=dataset.cache,
                cache_bytes=budget,
                cache_file=self.train.model_dir / f"cache_{split}.bin",
                shared=dataset.worker_type == "process" and dataset.workers > 0,
            )
            if store.memory is not None:
                budget -= store.bytes
            stores[split] = store
        return stores

    @cached_property
    def by_class(self) -> tuple[tuple[int, ...], ...]:
        """The training cases that show a class, as they are kept, for every foreground class
        that there is; empty without `oversample`. All are decoded for it, once."""
        if not self.train.oversample:
            return ()
        store = self.stores["train"]
        shown: dict[int, list[int]] = {}
        found = in_threads(
            partial(_classes, store), range(len(store)), max(1, self.dataset.workers)
        )
        for i, classes in enumerate(found):
            for class_id in classes:
                shown.setdefault(class_id, []).append(i)
        return tuple(tuple(shown[class_id]) for class_id in sorted(shown))

    def home_images(self) -> HomeImages | None:
        """What the images of the training look like, told by some of them, evenly chosen."""
        figures: dict[SplitName, NDArray[np.float64]] = {}
        groups: dict[SplitName, list[str]] = {}
        for split, store in self.stores.items():
            indices = _looked_at(store)
            with ThreadPoolExecutor(max(1, self.dataset.workers)) as pool:
                figures[split] = np.array(list(pool.map(partial(_figures, store), indices)))
            groups[split] = [store.cases[i].group for i in indices]
        trained = figures["train"]
        validated = figures.get("valid", trained[:0])
        return HomeImages.of(trained, groups["train"], validated, groups.get("valid", []))

    def least_contrast(self, count: int) -> tuple[float, ...]:
        """`ModelDescription.least_contrast` of what the training shows of these images.

        Parameters
        ----------
        count : see `standardized_deviations`.
        """
        store = self.stores["train"]
        shown = (image for index in _looked_at(store) for image in _shown(store, index))
        return least_contrast(shown, count) if count else ()

    def batches_of(self, size: int) -> list[BatchDataset]:
        """Batches of `size` images of the training and, if there are any, of the validation."""
        self._close_batches()
        dataset = self.dataset
        self.batches = [
            BatchDataset(
                samples,
                self._plan(split, size),
                augment=self.augment if split == "train" else None,
                share=self.share,
                workers=dataset.workers,
                worker_type=dataset.worker_type,
            )
            for split, samples in self.samples.items()
        ]
        return self.batches

    def images_of_batch(self, size: int) -> int:
        """Images of a batch of the training: fewer than `size` where there are no more to draw."""
        return len(self._plan("train", size).indices(0, 0))

    def sample(self, size: int) -> tuple[Any, NDArray[np.uint8]]:
        """One batch of the training, see `BatchDataset`."""
        plan = self._plan("train", size)
        return BatchDataset(self.samples["train"], plan, augment=self.augment, share=self.share)[0]

    def _plan(self, split: SplitName, size: int) -> BatchPlan:
        train = self.train
        count = len(self.samples[split].cases)
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

    def _close_batches(self) -> None:
        for batches in self.batches:
            batches.close()

    def close(self) -> None:
        """Stop the workers and remove the caches."""
        self._close_batches()
        for store in self.stores.values():
            store.close()


def _looked_at(store: Store) -> range:
    return range(0, len(store), -(-len(store) // _LOOKED_AT))


def _shown(store: Store, index: int) -> list[NDArray]:
    """The image of a case as the network sees it [h, w, C], or some patches of it."""
    image, preprocessing = store[index][0], store.reader.preprocessing
    if preprocessing.patch is None:
        return [image]
    places = some_windows(image.shape[:2], preprocessing.patch)
    return [preprocessing.at_size(image[place]) for place in places]


def _figures(store: Store, index: int) -> NDArray[np.float64]:
    return mean_figures(_shown(store, index))


def _classes(store: Store, index: int) -> list[int]:
    """The foreground classes of a case."""
    counts = store.reader.labels.count(store.labels(index))
    return [int(class_id) for class_id in np.flatnonzero(counts[1:]) + 1]
