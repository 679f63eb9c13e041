"""Batches: a function of seed, epoch and index, whoever prepares them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from config_parts import labels_of
from flexseg.augment.policy import Augmenter, Policy, RecipePolicy, VariantPolicy, variants_of
from flexseg.batches.batch_dataset import BatchDataset
from flexseg.batches.batch_plan import BatchPlan
from flexseg.batches.store import CaseReader, Store, open_store
from flexseg.config import Experiment
from flexseg.config.augmentation import AugmentationConfig
from flexseg.dataset.cases import pair
from flexseg.errors import DataError, ResourceError
from flexseg.files.preprocess import Preprocessing

Batches = list[tuple[NDArray[Any], NDArray[np.uint8]]]


@pytest.fixture
def store(make_dataset: Callable[..., Path]) -> Store:
    """Seven cases, not cached, so that each access reads the files."""
    folder = make_dataset({"train": 7}, size=(20, 24)) / "train"
    labels = labels_of(Experiment.model_validate({"model": {"num_classes": 2}}))
    reader = CaseReader(Preprocessing(24, 20, 3), labels)
    return open_store(pair(folder / "images", folder / "masks").cases, reader, cache="none")


@pytest.fixture
def dataset(store: Store) -> Iterator[Callable[..., BatchDataset]]:
    """A function that makes datasets over the store, closed after the test."""
    made: list[BatchDataset] = []

    def make(shuffle: bool = True, steps: int | None = None, **options: Any) -> BatchDataset:
        plan = BatchPlan(len(store), 3, seed=5, shuffle=shuffle, steps=steps)
        made.append(BatchDataset(store, plan, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def all_batches(dataset: BatchDataset) -> Batches:
    return [dataset[i] for i in range(dataset.num_batches)]


def assert_equal(found: Batches, expected: Batches) -> None:
    assert len(found) == len(expected)
    for (images, labels), (other_images, other_labels) in zip(found, expected, strict=True):
        assert np.array_equal(images, other_images)
        assert np.array_equal(labels, other_labels)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 99), st.integers(0, 9), st.booleans())
def test_an_epoch_visits_each_case_once(
    count: int, batch_size: int, seed: int, epoch: int, shuffle: bool
) -> None:
    plan = BatchPlan(count, batch_size, seed, shuffle)
    batches = [plan.indices(epoch, i) for i in range(len(plan))]
    visited = [i for batch in batches for i in batch]
    assert sorted(visited) == list(range(count))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= batch_size
    if not shuffle:
        assert visited == list(range(count))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 16), st.integers(0, 99), st.integers(0, 9))
def test_drawn_batches_are_full_and_without_repetition(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    plan = BatchPlan(count, batch_size, seed, steps=6)
    assert len(plan) == 6
    for i in range(6):
        batch = plan.indices(epoch, i)
        assert len(set(batch)) == len(batch) == min(batch_size, count)
        assert batch == BatchPlan(count, batch_size, seed, steps=6).indices(epoch, i)


@pytest.mark.parametrize("steps", [None, 10])
def test_epochs_and_seeds_differ(steps: int | None) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        plan = BatchPlan(40, 4, seed, shuffle=True, steps=steps)
        return [plan.indices(epoch, i) for i in range(len(plan))]

    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert order(1, 0) == order(1, 0)


@pytest.mark.parametrize("steps", [None, 4])
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_threads_gives_the_same_batches(
    dataset: Callable[..., BatchDataset], store: Store, workers: int, steps: int | None
) -> None:
    """And each batch is what the plan and the files say."""
    found = dataset(workers=workers, steps=steps)
    for epoch in (0, 1):
        found.set_epoch(epoch)
        expected = []
        for number in range(len(found.plan)):
            pairs = [store[i] for i in found.plan.indices(epoch, number)]
            images, labels = zip(*pairs, strict=True)
            expected.append((np.stack(images), np.stack(labels)))
        assert_equal(all_batches(found), expected)
    assert found.num_batches == (steps or 3)


RECIPE = RecipePolicy(AugmentationConfig(enabled=True, noise=1.0, elastic=0.5))
VARIANTS = VariantPolicy(
    variants_of(Experiment.model_validate({"augmentor": {"deformation": True}}).variants)
)


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        (RECIPE, {"workers": 1}),
        (VARIANTS, {"workers": 3}),
        (RECIPE, {"workers": 2, "worker_type": "process"}),
    ],
)
def test_any_workers_augment_alike(
    dataset: Callable[..., BatchDataset], policy: Policy, options: dict[str, Any]
) -> None:
    """A sample depends on seed, epoch and place; every epoch has its own."""
    augment = Augmenter(policy, 11)
    found, expected = dataset(augment=augment, **options), dataset(augment=augment)
    for epoch in (0, 1):
        found.set_epoch(epoch)
        expected.set_epoch(epoch)
        assert_equal(all_batches(found), all_batches(expected))
    again = dataset(augment=Augmenter(policy, 12))
    again.set_epoch(1)
    same = [
        np.array_equal(a[0], b[0])
        for a, b in zip(all_batches(again), all_batches(found), strict=True)
    ]
    assert not all(same)


@pytest.mark.parametrize("workers", [0, 2])
def test_set_epoch_skips_exactly(dataset: Callable[..., BatchDataset], workers: int) -> None:
    """Resuming after two batches gives the third, also when others were prepared ahead."""
    whole = dataset()
    whole.set_epoch(3)
    resumed = dataset(workers=workers)
    resumed[0]
    resumed.set_epoch(3, start=2)
    assert resumed.num_batches == 1
    assert_equal(all_batches(resumed), all_batches(whole)[2:])
    assert resumed.cases_of(2) == whole.cases_of(2)
    resumed.set_epoch(3)
    assert_equal(all_batches(resumed), all_batches(whole))


def test_cases_of_a_batch(dataset: Callable[..., BatchDataset], store: Store) -> None:
    found = dataset(shuffle=False)
    assert [case.id for case in found.cases_of(1)] == ["train_03", "train_04", "train_05"]
    assert np.array_equal(found[1][0][0], store[3][0])


def test_order_of_requests_does_not_matter(dataset: Callable[..., BatchDataset]) -> None:
    found, expected = dataset(workers=2), all_batches(dataset())
    assert_equal([found[2], found[0], found[1]], [expected[2], expected[0], expected[1]])


def test_delivered_batches_are_timed(dataset: Callable[..., BatchDataset]) -> None:
    found = dataset()
    all_batches(found)
    assert sorted(found.delivered) == [0, 1, 2]
    assert all(waited >= 0 for _, waited in found.delivered.values())
    found.set_epoch(1)
    assert found.delivered == {}


@pytest.mark.parametrize(
    "options",
    [{}, {"workers": 1}, {"workers": 3}, {"workers": 1, "worker_type": "process"}],
    ids=["main", "one-thread", "threads", "process"],
)
def test_error_of_a_worker_arrives_whole(
    dataset: Callable[..., BatchDataset], store: Store, options: dict[str, Any]
) -> None:
    """With the file that caused it, and not before its batch is asked for."""
    damaged = store.cases[4].image
    damaged.write_bytes(damaged.read_bytes()[:300])
    found = dataset(shuffle=False, **options)
    assert_equal([found[0]], [dataset(shuffle=False)[0]])
    with pytest.raises(DataError) as caught:
        found[1]
    assert caught.value.where == str(damaged)
    assert "cannot be read" in caught.value.problem
    assert found.error is caught.value


def test_a_worker_that_the_system_ends_is_explained_whenever_it_dies(
    dataset: Callable[..., BatchDataset],
) -> None:
    """At the first batch after its death, and at every later one."""
    found = dataset(workers=1, worker_type="process")
    found[0]
    assert isinstance(found._executor, ProcessPoolExecutor)
    (worker,) = found._executor._processes.values()
    worker.kill()
    for epoch in (1, 2):
        found.set_epoch(epoch)
        with pytest.raises(ResourceError, match="The system ended a worker process"):
            found[0]


def test_closing_stops_the_workers_and_may_be_repeated(
    dataset: Callable[..., BatchDataset],
) -> None:
    found = dataset(workers=2)
    expected = all_batches(found)
    found.close()
    found.close()
    assert_equal(all_batches(found), expected)  # a new request starts them again
