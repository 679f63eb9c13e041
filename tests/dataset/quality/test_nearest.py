"""Among many images, those that are alike are found without comparing all."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from flexseg.dataset.quality import nearest as module
from flexseg.dataset.quality.duplicates import ImageHash
from flexseg.dataset.quality.hash_file import HashFile
from flexseg.dataset.quality.nearest import nearest

COUNT = 600


def spectra() -> NDArray[np.complex64]:
    """Of unlike images, and of a copy of each tenth, turned (other phases) and a little changed."""
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(2, COUNT, 3, 16, 16))
    found = (parts[0] + 1j * parts[1]) / 32
    copies = found[::10] * np.exp(1j * rng.uniform(0, 6.28, (COUNT // 10, 1, 1, 16)))
    copies += 0.004 * rng.normal(size=copies.shape)
    return np.concatenate([found, copies]).astype(np.complex64)


def found_in(values: NDArray[np.complex64]) -> dict[int, NDArray[np.intp]]:
    queries, others = np.arange(COUNT, len(values)), np.arange(COUNT)
    return dict(nearest(lambda indices, scale: values[indices, scale], queries, others))


def in_cells(monkeypatch: pytest.MonkeyPatch, cell: int, probes: int) -> None:
    for name, value in (("_WHOLE", 10), ("_CELL", cell), ("_PROBES", probes)):
        monkeypatch.setattr(module, name, value)


def test_copies_are_among_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    values = spectra()
    whole = found_in(values)
    in_cells(monkeypatch, 20, 8)
    for found in (whole, found_in(values)):
        assert [*found] == [*range(COUNT, len(values))]
        assert all(10 * i in found[COUNT + i] for i in range(COUNT // 10))
        assert all(len(near) == len({*near.tolist()}) == 64 for near in found.values())


def test_all_cells_give_what_a_comparison_with_all_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    values = spectra()
    whole = found_in(values)
    in_cells(monkeypatch, 60, 10)
    for query, near in found_in(values).items():
        assert {*near.tolist()} == {*whole[query].tolist()}


def test_comparisons_do_not_grow_with_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = spectra()
    in_cells(monkeypatch, 20, 8)
    monkeypatch.setattr(module, "_CELL_LIMIT", 40)
    for values in (rows, np.repeat(rows[:1], len(rows), axis=0)):  # unlike ones; all alike
        compared = _counted(monkeypatch)
        found_in(values)
        # Cells of at most 40 at three scales; at the first one three of the query's look for it.
        assert sum(compared) <= (3 + 1 + 1) * 8 * 40 * (len(values) - COUNT)


@pytest.mark.parametrize("whole", [10_000, 1000])  # one cell; several
def test_memory_grows_by_the_numbers_of_the_images_only(
    monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(module, "_WHOLE", whole)
    values = spectra()

    def peak(count: int) -> int:
        queries, others = np.arange(20), np.arange(20, count)
        tracemalloc.start()
        for _ in nearest(lambda indices, s: values[indices % len(values), s], queries, others):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    # Magnitudes of one image at one scale are 1 kB.
    assert peak(8000) - peak(2000) < 6000 * 100


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all tables of scores from now on."""
    sizes: list[int] = []
    highest = module._highest

    def counting(tables: Iterable[NDArray]) -> NDArray:
        found = highest(tables)
        sizes.append(found.size)
        return found

    monkeypatch.setattr(module, "_highest", counting)
    return sizes


def test_hashes_come_back_from_the_file() -> None:
    rng = np.random.default_rng(0)
    file = HashFile()
    made = [
        ImageHash(
            rng.integers(0, 255, (128, 128), np.uint8),
            rng.normal(size=(3, 16, 16)).astype(np.complex64),
        )
        for _ in range(3)
    ]
    numbers = [file.add(one) for one in made]
    chosen = file.chosen(np.array(numbers[::-1]))
    assert len(chosen) == 3
    for i, one in enumerate(made[::-1]):
        assert np.array_equal(chosen[i].thumbnail, one.thumbnail)
        assert np.array_equal(chosen[i].spectrum, one.spectrum)
