"""The store: the same arrays whatever the cache, in bounded memory."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from config_parts import labels_of
from flexseg.batches.store import CaseReader, Store, open_store
from flexseg.config import Experiment
from flexseg.dataset.cases import Case, pair
from flexseg.errors import DataError, ResourceError
from flexseg.files.images import read_image, read_mask, write_png
from flexseg.files.preprocess import Preprocessing

LABELS = labels_of(
    Experiment.model_validate(
        {
            "model": {"num_classes": 3},
            "mask": {"classes": [{"id": 1, "color": "#00ff00"}, {"id": 2, "color": "#ff0000"}]},
        }
    )
)
READER = CaseReader(Preprocessing(24, 16, 3), LABELS)


@pytest.fixture
def cases(make_dataset: Callable[..., Path]) -> tuple[Case, ...]:
    """Five cases of 48 x 40 pixels."""
    folder = make_dataset({"train": 5}, classes=3) / "train"
    return pair(folder / "images", folder / "masks").cases


def batch(store: Store, indices: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*store.samples([*indices], 0, 0), strict=True)
    return np.stack(images), np.stack(labels)


def test_reader_gives_the_pixels_of_the_files(cases: tuple[Case, ...]) -> None:
    image, labels = READER.native(cases[0])
    assert np.array_equal(image, read_image(cases[0].image))
    assert np.array_equal(labels, read_mask(cases[0].mask).pixels)
    assert labels.dtype == np.uint8
    small, small_labels = READER.model_size(cases[0])
    assert np.array_equal(small, READER.preprocessing.image(image))
    assert np.array_equal(small_labels, READER.preprocessing.labels(labels))
    assert small.shape == (16, 24, 3)


@pytest.mark.parametrize("repeat", [1, 2])
@pytest.mark.parametrize("kind", ["memory", "disk", "auto", "auto-without-memory", "none"])
def test_every_cache_gives_the_same_batches(
    cases: tuple[Case, ...], tmp_path: Path, kind: str, repeat: int
) -> None:
    """At the first access, and when it comes from the cache."""
    options: dict[str, Any] = {"cache": kind.partition("-")[0], "cache_file": tmp_path / "c.bin"}
    if kind == "auto-without-memory":
        options["cache_bytes"] = 0
    store = open_store(cases, READER, **options)
    expected = [READER.model_size(case) for case in cases]
    for _ in range(repeat):
        images, labels = batch(store, [3, 0, 4])
    assert images.dtype == np.uint8
    assert np.array_equal(images, np.stack([expected[i][0] for i in (3, 0, 4)]))
    assert np.array_equal(labels, np.stack([expected[i][1] for i in (3, 0, 4)]))
    assert len(store) == 5
    in_memory, in_file = store.memory is not None, store.file is not None
    assert (in_memory, in_file) == {
        "memory": (True, False),
        "disk": (False, True),
        "auto": (True, False),
        "auto-without-memory": (False, True),
        "none": (False, False),
    }[kind]


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_cached_cases_are_decoded_once(cases: tuple[Case, ...], tmp_path: Path, kind: Any) -> None:
    """After the first pass the files are not looked at again."""
    store = open_store(cases, READER, cache=kind, cache_file=tmp_path / "c.bin")
    first = batch(store, range(5))
    for case in cases:
        case.image.unlink()
    second = batch(store, range(5))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_without_cache_the_files_are_read_each_time(cases: tuple[Case, ...]) -> None:
    store = open_store(cases, READER, cache="none")
    write_png(cases[2].image, np.full((40, 48, 3), 9, np.uint8))
    assert (store[2][0] == 9).all()


def test_memory_limit_is_exact(cases: tuple[Case, ...], tmp_path: Path) -> None:
    needed = 5 * (9 + 16 * 24 * 4)  # a byte "ready", height and width, and four per pixel
    file = tmp_path / "c.bin"
    fits = open_store(cases, READER, cache_bytes=needed, cache_file=file)
    assert fits.memory is not None
    assert sum(array.nbytes for array in fits.memory) == needed
    above = open_store(cases, READER, cache_bytes=needed - 1, cache_file=file)
    assert above.memory is None
    assert file.stat().st_size == needed


def test_memory_asked_for_beyond_the_limit_is_a_resource_error(cases: tuple[Case, ...]) -> None:
    with pytest.raises(ResourceError) as caught:
        open_store(cases, READER, cache="memory", cache_bytes=10)
    assert caught.value.exit_code == 4
    assert "cache_gb" in caught.value.problem


def test_full_disk_is_a_resource_error_or_no_cache(
    cases: tuple[Case, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 100

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(ResourceError, match="on the disk") as caught:
        open_store(cases, READER, cache="disk", cache_file=tmp_path / "c.bin")
    assert caught.value.where == str(tmp_path)
    store = open_store(cases, READER, cache_bytes=0, cache_file=tmp_path / "c.bin")
    assert (store.memory, store.file) == (None, None)
    assert list(tmp_path.glob("*.bin")) == []


def test_worker_processes_get_the_file_instead_of_memory(
    cases: tuple[Case, ...], tmp_path: Path
) -> None:
    """Decoded by one process, read by another: the file is shared, memory is not."""
    store = open_store(cases, READER, cache_file=tmp_path / "c.bin", shared=True)
    assert store.file is not None
    other: Store = pickle.loads(pickle.dumps(store))  # noqa: S301
    expected = batch(other, [0, 1])
    cases[0].image.unlink()
    assert np.array_equal(batch(store, [0, 1])[0], expected[0])


def test_closing_removes_the_file(cases: tuple[Case, ...], tmp_path: Path) -> None:
    store = open_store(cases, READER, cache="disk", cache_file=tmp_path / "sub" / "c.bin")
    assert (tmp_path / "sub" / "c.bin").exists()
    store.close()
    assert not (tmp_path / "sub" / "c.bin").exists()


@pytest.mark.parametrize("kind", ["memory", "disk", "none"])
def test_wide_images_keep_their_precision(
    cases: tuple[Case, ...], tmp_path: Path, kind: Any
) -> None:
    """One 16-bit image makes all of them float: 20000/65535 is no whole number of 255."""
    deep = replace(cases[0], image=tmp_path / "deep.tif")
    tifffile.imwrite(deep.image, np.full((40, 48), 20000, np.uint16))
    store = open_store((deep, cases[1]), READER, cache=kind, cache_file=tmp_path / "c.bin")
    for _ in range(2):
        images, _labels = batch(store, [0, 1])
        assert images.dtype == np.float32
        assert images[0] == pytest.approx(20000 * 255 / 65535)
        assert np.array_equal(images[1], READER.model_size(cases[1])[0])


def test_window_makes_8_bit_images_float(cases: tuple[Case, ...]) -> None:
    reader = replace(READER, preprocessing=Preprocessing(24, 16, 3, window=(0, 100)))
    store = open_store(cases, reader)
    assert store.dtype == np.float32
    assert store[0][0].max() == 255
    assert np.unique(store[0][0] % 1).size > 1


def test_signed_bytes_are_not_taken_for_8_bit_pixels(
    cases: tuple[Case, ...], tmp_path: Path
) -> None:
    signed = replace(cases[0], image=tmp_path / "signed.tif")
    tifffile.imwrite(signed.image, np.full((40, 48), -5, np.int8))
    assert (open_store((signed,), READER)[0][0] == -5).all()


def _with_mask(case: Case, path: Path, size: tuple[int, int]) -> Case:
    rows = np.arange(size[0]) >= size[0] // 2
    write_png(path, np.repeat(rows[:, None], size[1], 1).astype(np.uint8), LABELS.palette)
    return replace(case, mask=path)


def test_mask_of_another_resolution_is_scaled(cases: tuple[Case, ...], tmp_path: Path) -> None:
    case = _with_mask(cases[0], tmp_path / "m.png", (80, 96))
    labels = READER.native(case)[1]
    assert labels.shape == (40, 48)
    assert (labels[:20] == 0).all()
    assert (labels[20:] == 1).all()


def test_mask_of_another_shape_is_a_data_error(cases: tuple[Case, ...], tmp_path: Path) -> None:
    case = _with_mask(cases[0], tmp_path / "m.png", (48, 40))
    with pytest.raises(DataError) as caught:
        READER.native(case)
    assert caught.value.problem == "The mask is 40 x 48 pixels, but its image is 48 x 40."
    assert caught.value.where == str(case.mask)


def test_unknown_colors_are_refused_on_demand(cases: tuple[Case, ...], tmp_path: Path) -> None:
    pixels = np.zeros((40, 48, 3), np.uint8)
    pixels[0, :5] = (0, 200, 0)
    case = replace(cases[0], mask=tmp_path / "m.png")
    write_png(case.mask, pixels)
    assert READER.native(case)[1].sum() == 5
    with pytest.raises(DataError) as caught:
        replace(READER, unknown_colors="error").native(case)
    assert "5 pixels have a colour or value of no class: (0, 200, 0)" in caught.value.problem
    assert caught.value.where == str(case.mask)


def test_failed_case_is_not_taken_for_cached(cases: tuple[Case, ...], tmp_path: Path) -> None:
    content = cases[1].image.read_bytes()
    for kind in ("memory", "disk"):
        store = open_store(cases, READER, cache=kind, cache_file=tmp_path / "c.bin")
        cases[1].image.write_bytes(content[:200])
        for _ in range(2):
            with pytest.raises(DataError) as caught:
                batch(store, [0, 1])
            assert caught.value.where == str(cases[1].image)
        cases[1].image.write_bytes(content)
        assert np.array_equal(store[1][0], READER.model_size(cases[1])[0])


class TestStacks:
    """Networks that see neighbouring slices: one cached slice serves all stacks."""

    READER = CaseReader(Preprocessing(24, 16, 5, neighbours=2), LABELS)

    @pytest.fixture
    def volumes(self, tmp_path: Path) -> tuple[Case, ...]:
        """Two volumes of 6 and 3 slices of 48 x 40 pixels."""
        rng = np.random.default_rng(0)
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir()
        for name in [*(f"a_{i:04d}" for i in range(6)), *(f"b_{i:04d}" for i in range(3))]:
            write_png(tmp_path / "images" / f"{name}.png", rng.integers(0, 256, (40, 48), np.uint8))
            write_png(tmp_path / "masks" / f"{name}.png", np.eye(40, 48).astype(np.uint8),
                      [0, 0, 0, 0, 255, 0, 255, 0, 0])  # fmt: skip
        return pair(tmp_path / "images", tmp_path / "masks").cases

    @pytest.mark.parametrize("kind", ["memory", "disk", "none"])
    def test_every_cache_gives_what_the_reader_gives(
        self, volumes: tuple[Case, ...], tmp_path: Path, kind: Any
    ) -> None:
        """Also where a neighbour is no case of the store."""
        some = (*volumes[:3], *volumes[4:])
        store = open_store(some, self.READER, cache=kind, cache_file=tmp_path / "c.bin")
        for _ in range(2):
            images, labels = batch(store, range(len(some)))
            for i, case in enumerate(some):
                expected = self.READER.model_size(case)
                np.testing.assert_array_equal(images[i], expected[0])
                np.testing.assert_array_equal(labels[i], expected[1])
        assert images.shape == (8, 16, 24, 5)
        alone = replace(self.READER, preprocessing=Preprocessing(24, 16, 1))
        np.testing.assert_array_equal(images[3, ..., 2:3], alone.model_size(some[3])[0])

    def test_the_cache_holds_each_slice_once(self, volumes: tuple[Case, ...]) -> None:
        store = open_store(volumes, self.READER)
        assert store.memory is not None
        assert store.memory[0].shape == (9 * 16 * 24, 1)
        assert store.bytes == 9 * (9 + 16 * 24 * 2)

    def test_a_missing_slice_is_found_before_the_training(self, volumes: tuple[Case, ...]) -> None:
        volumes[3].image.unlink()
        with pytest.raises(DataError, match="Slice 3 of the volume is missing"):
            open_store((*volumes[:3], *volumes[4:]), self.READER)

    def test_a_wide_neighbour_makes_all_float(
        self, volumes: tuple[Case, ...], tmp_path: Path
    ) -> None:
        deep = np.full((40, 48), 20000, np.uint16)
        volumes[3].image.unlink()
        tifffile.imwrite(tmp_path / "images" / "a_0003.tif", deep)
        store = open_store((*volumes[:3], *volumes[4:]), self.READER)
        assert store.dtype == np.float32
        assert store[2][0][..., 3] == pytest.approx(20000 * 255 / 65535)
