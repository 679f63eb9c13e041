"""Patches of images: where they lie, and that they are what predictions see."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config_parts import labels_of
from flexseg.batches.batch_dataset import BatchDataset
from flexseg.batches.batch_plan import BatchPlan
from flexseg.batches.patches import (
    MOST_VALIDATED,
    PatchGrid,
    RandomPatches,
    cut,
    margins,
    training_samples,
    validation_samples,
    windows,
)
from flexseg.batches.store import CaseReader, Store, open_store
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case, pair
from flexseg.files.images import write_png
from flexseg.files.preprocess import Preprocessing

LABELS = labels_of(
    Experiment.model_validate(
        {
            "model": {"num_classes": 3},
            "mask": {"classes": [{"id": 1, "color": "#00ff00"}, {"id": 2, "color": "#ff0000"}]},
        }
    )
)
PALETTE = [0, 0, 0, 0, 255, 0, 255, 0, 0]
# Patches of 16 x 8 pixels (width x height) at the images' own size.
READER = CaseReader(Preprocessing(16, 8, 3, patch_scale=1.0), LABELS)
SIZES = [(40, 60), (8, 16), (30, 10), (5, 7)]


@pytest.fixture
def cases(tmp_path: Path) -> tuple[Case, ...]:
    """Images whose red and green are row and column; of the first a corner is class 2."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number, (height, width) in enumerate(SIZES):
        rows, columns = np.mgrid[:height, :width].astype(np.uint8)
        pixels = np.stack([rows, columns, np.full_like(rows, number)], axis=-1)
        labels = np.zeros((height, width), np.uint8)
        if number == 0:
            labels[35:, 58:] = 2
        write_png(tmp_path / f"images/{number}.png", pixels)
        write_png(tmp_path / f"masks/{number}.png", labels, PALETTE)
    return pair(tmp_path / "images", tmp_path / "masks").cases


@st.composite
def _layouts(draw: st.DrawFn) -> tuple[int, int, int]:
    """Length of the image, side of the window, overlap."""
    window = draw(st.integers(1, 40))
    return draw(st.integers(1, 150)), window, draw(st.integers(0, window - 1))


class TestWindows:
    def test_known_layout(self) -> None:
        assert windows(1000, 512, 128) == [0, 384, 488]
        assert windows(896, 512, 128) == [0, 384]
        assert windows(512, 512, 128) == [0]
        assert windows(100, 512, 128) == [0]

    @given(_layouts())
    def test_cover_everything_with_the_overlap(self, layout: tuple[int, int, int]) -> None:
        length, window, overlap = layout
        starts = windows(length, window, overlap)
        covered = np.zeros(max(length, window), int)
        for start in starts:
            covered[start : start + window] += 1
        assert covered.min() >= 1
        assert starts[0] == 0 and starts[-1] + window == max(length, window)
        for one, following in itertools.pairwise(starts):
            assert one < following <= one + window - overlap

    @pytest.mark.parametrize("overlap", [-1, 8, 9])
    def test_overlap_that_does_not_fit(self, overlap: int) -> None:
        with pytest.raises(ValueError, match="does not fit"):
            windows(100, 8, overlap)


def place_of(image: np.ndarray) -> tuple[int, int, int]:
    """Case, top and left, as the colours of the first pixel say."""
    return int(image[0, 0, 2]), int(image[0, 0, 0]), int(image[0, 0, 1])


@pytest.mark.parametrize("kind", ["memory", "disk", "none"])
def test_images_of_all_sizes_are_kept_as_they_are(
    cases: tuple[Case, ...], tmp_path: Path, kind: Any
) -> None:
    store = open_store(cases, READER, cache=kind, cache_file=tmp_path / "c.bin")
    for _ in range(2):
        for index, case in enumerate(cases):
            image, labels = store[index]
            expected = READER.native(case)
            np.testing.assert_array_equal(image, expected[0])
            np.testing.assert_array_equal(labels, expected[1])
    pixels = sum(height * width for height, width in SIZES)
    assert store.bytes == len(cases) * 9 + pixels * 4


def test_an_image_that_outgrew_its_room_is_not_cached(
    cases: tuple[Case, ...], tmp_path: Path
) -> None:
    for kind in ("memory", "disk"):
        write_png(cases[1].image, np.zeros((8, 16, 3), np.uint8))
        store = open_store(cases, READER, cache=kind, cache_file=tmp_path / "c.bin")  # type: ignore[arg-type]
        write_png(cases[1].image, np.full((16, 32, 3), 7, np.uint8))
        assert store[1][0].shape == (16, 32, 3)
        assert store[2][0].shape == (30, 10, 3)


def test_a_place_is_a_function_of_seed_epoch_and_position(cases: tuple[Case, ...]) -> None:
    store = open_store(cases, READER)

    def places(seed: int, epoch: int, first: int, count: int) -> list[tuple[int, int, int]]:
        found = RandomPatches(store, seed).samples([0] * count, epoch, first)
        return [place_of(image) for image, _ in found]

    assert places(1, 0, 0, 9) == places(1, 0, 0, 4) + places(1, 0, 4, 5)
    assert places(1, 0, 0, 9) != places(1, 1, 0, 9)
    assert places(1, 0, 0, 9) != places(2, 0, 0, 9)


def test_every_part_of_an_image_is_seen_and_a_third_shows_the_rare_corner(
    cases: tuple[Case, ...],
) -> None:
    found = RandomPatches(open_store(cases, READER), 3).samples([0] * 900, 0, 0)
    assert all(image.shape == (8, 16, 3) and labels.shape == (8, 16) for image, labels in found)
    seen = np.zeros(SIZES[0], bool)
    for image, labels in found:
        _, top, left = place_of(image)
        assert (image[-1, -1, 0], image[-1, -1, 1]) == (top + 7, left + 15)
        seen[top : top + 8, left : left + 16] = True
        assert (labels == 2).sum() == (image[..., 0] >= 35)[image[..., 1] >= 58].sum()
    assert seen.all()
    # By chance the corner is in 4 % of them.
    assert 0.28 < np.mean([(labels == 2).any() for _, labels in found]) < 0.45


def test_what_a_small_image_lacks_is_mirrored_on_both_sides(cases: tuple[Case, ...]) -> None:
    ((image, labels),) = RandomPatches(open_store(cases, READER), 0).samples([3], 0, 0)
    expected = np.pad(
        READER.native(cases[3])[0], (margins(5, 8), margins(7, 16), (0, 0)), "reflect"
    )
    np.testing.assert_array_equal(image, expected)
    assert labels.shape == (8, 16)


def test_a_scale_shows_more_of_the_image_in_as_many_pixels(cases: tuple[Case, ...]) -> None:
    half = replace(READER.preprocessing, patch_scale=0.5)
    assert half.patch == (16, 32)
    image, labels = cut(READER.native(cases[0]), 4, 6, half)
    assert image.shape == (8, 16, 3) and labels.shape == (8, 16)
    assert image[0, 0].tolist() in ([4, 6, 0], [5, 7, 0])  # the mean of 4 and 5, of 6 and 7


def test_validation_covers_all_cases_and_is_always_the_same(cases: tuple[Case, ...]) -> None:
    grid = PatchGrid.of(open_store(cases, READER))
    # 5 rows of 4, 1, 4 of 1, 1.
    assert [case.id for case in grid.cases] == ["0"] * 20 + ["1"] + ["2"] * 4 + ["3"]
    places = [place_of(image) for image, _ in grid.samples(range(20), 0, 0)]
    assert places[:4] == [(0, 0, 0), (0, 0, 16), (0, 0, 32), (0, 0, 44)]
    assert places[-1] == (0, 32, 44)
    assert grid.samples([5], 0, 0)[0][0].tolist() == grid.samples([5], 7, 3)[0][0].tolist()


def test_of_many_patches_some_are_validated(
    cases: tuple[Case, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_VALIDATED > 26
    monkeypatch.setattr("flexseg.batches.patches.MOST_VALIDATED", 6)
    grid = PatchGrid.of(open_store(cases, READER))
    assert [case.id for case in grid.cases] == ["0", "0", "0", "0", "1", "3"]


def test_without_a_scale_whole_images_are_shown(cases: tuple[Case, ...]) -> None:
    store = open_store(cases, replace(READER, preprocessing=Preprocessing(16, 8, 3)))
    assert training_samples(store, 1) is store
    assert validation_samples(store) is store


def test_worker_processes_draw_the_same_patches(cases: tuple[Case, ...], tmp_path: Path) -> None:
    def batches(store: Store, **options: Any) -> list[Any]:
        source = training_samples(store, 4)
        made = BatchDataset(source, BatchPlan(4, 2, seed=4, shuffle=True, steps=4), **options)
        made.set_epoch(2)
        found = [made[i] for i in range(4)]
        made.close()
        return found

    alone = batches(open_store(cases, READER))
    file = open_store(cases, READER, cache="disk", cache_file=tmp_path / "c.bin")
    for options in ({"workers": 2}, {"workers": 1, "worker_type": "process"}):
        for (x, y), (other_x, other_y) in zip(alone, batches(file, **options), strict=True):
            np.testing.assert_array_equal(x, other_x)
            np.testing.assert_array_equal(y, other_y)
