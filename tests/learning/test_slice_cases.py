"""Corrected volumes become slices as those of the training, all of one volume in one part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.config import load
from flexseg.dataset.labels import LabelMap, make_classes
from flexseg.dataset.reading import Dataset, ImageDataset
from flexseg.derive.volumes import derive_volumes
from flexseg.errors import DataError
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.read import read_volume
from flexseg.learning.case_pool import CasePool
from flexseg.learning.corrections import Corrections
from flexseg.learning.given_corrections import add_dataset
from flexseg.learning.slice_cases import learned_kinds
from flexseg.model_file.model_description import ModelDescription
from learned_volumes import OPTIONS, SHAPE, volume_of, write_pairs, write_project

LABELS = LabelMap.of_foreground(make_classes([("box", (1,))])[1:])
PARTS = {"train": ["a", "b"], "valid": ["c"], "test": ["d"]}
SLICES = SHAPE[1]


@pytest.fixture
def package(tmp_path: Path) -> ModelDescription:
    return ModelDescription.of_config(write_project(tmp_path / "project", PARTS).experiment)


def pool_in(folder: Path, package: ModelDescription) -> CasePool:
    """A pool with the cases of the training."""
    pool = CasePool.open(folder / "cases", package.labels, package.preprocessing)
    pool.add_training(load(folder / "project" / "a.toml"), package)
    return pool


def corrections_in(folder: Path) -> Corrections:
    return Corrections(folder / "corrections", LABELS)


def mask_of(pool: CasePool, name: str) -> np.ndarray:
    return np.asarray(Image.open(pool.folder / "masks" / f"{name}.png"))


def test_slices_are_those_that_derive_cuts(tmp_path: Path, package: ModelDescription) -> None:
    pool = pool_in(tmp_path, package)
    volume, labels = volume_of(10)
    corrections_in(tmp_path).add_volume("new", volume, labels, "corrected", "ann")
    pool.add_corrections(corrections_in(tmp_path))
    pool.write()
    given = write_pairs(tmp_path / "given", {"new": 10})
    derived = derive_volumes(given / "volumes", given / "labels", tmp_path / "cut", OPTIONS)
    for number in range(SLICES):
        name = f"new_{number:04d}"
        image = (derived.output / "images" / f"{name}.png").read_bytes()
        assert (pool.folder / "images" / f"{name}.png").read_bytes() == image
        expected = np.asarray(Image.open(derived.output / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(mask_of(pool, name), expected)
    data = Dataset.open(pool.folder)
    assert isinstance(data, ImageDataset) and data.volume is not None
    assert (data.volume.axes, data.volume.rotate) == (("coronal",), 90)
    assert str(data.volume.intensity) == str(OPTIONS.intensity)
    assert {case.group for case in data.cases} == {"a", "b", "c", "d", "new"}
    assert [c.name for c in data.labels.foreground] == ["box"]


def test_volumes_keep_their_part_and_none_joins_the_test(
    tmp_path: Path, package: ModelDescription
) -> None:
    pool = pool_in(tmp_path, package)
    for number in range(6):
        seed = {0: 1, 1: 2, 2: 3}.get(number, 10 + number)  # those of b, c and d first
        volume, labels = volume_of(seed)
        labels = np.where(labels == 1, 0, 1).astype(np.uint8)
        corrections_in(tmp_path).add_volume(f"case{number}", volume, labels, "corrected", "ann")
    corrections = corrections_in(tmp_path)
    pool.add_corrections(corrections)
    pool.write()
    assert pool.left_out == ["case2"]
    split = json.loads(pool.split_file.read_text(encoding="utf-8"))
    part_of: dict[str, set[str]] = {}
    for part, names in split.items():
        for name in names:
            part_of.setdefault(pool.unit(name), set()).add(part)
    known = {"a": {"train"}, "b": {"train"}, "c": {"valid"}, "d": {"test"}}
    assert part_of.items() >= known.items() and part_of.keys() - known == {
        "case3",
        "case4",
        "case5",
    }
    assert all(len(parts) == 1 for parts in part_of.values())
    assert len(split["test"]) == SLICES
    # The masks of b and c are the corrected ones now, that of d is not.
    cut = OPTIONS.axes[0]
    for name, seed, inverted in (("b", 1, True), ("c", 2, True), ("d", 3, False)):
        volume, labels = volume_of(seed)
        expected = cut.slice_view(labels, volume.orientation) ^ inverted
        found = np.stack([mask_of(pool, f"{name}_{number:04d}") for number in range(SLICES)])
        np.testing.assert_array_equal(found, expected)
    assert pool.units(pool.corrected) == {"b", "c", "case3", "case4", "case5"}
    # A second look changes nothing; a pool that is opened again knows all.
    before = dict(pool.cases)
    again = CasePool.open(pool.folder, package.labels, package.preprocessing)
    again.add_corrections(corrections)
    assert again.cases == before and again.left_out == ["case2"]


def test_what_nobody_looked_at_is_not_trained_on(tmp_path: Path, package: ModelDescription) -> None:
    pool = pool_in(tmp_path, package)
    volume, labels = volume_of(10)
    seen = OPTIONS.axes[0].slice_view(labels, volume.orientation)
    seen[:6] = 255
    seen[6, 0] = 255
    corrections_in(tmp_path).add_volume("part", volume, labels, "corrected", "ann", group="a")
    pool.add_corrections(corrections_in(tmp_path))
    pool.write()
    split = json.loads(pool.split_file.read_text(encoding="utf-8"))
    mine = [name for name in split["train"] if name.startswith("part_")]
    assert mine == [f"part_{number:04d}" for number in range(6, SLICES)]
    assert (mask_of(pool, mine[0])[0] == 255).all()
    # The others are there as neighbours.
    assert (pool.folder / "images" / "part_0005.png").exists()


def test_volumes_in_a_folder_are_taken_over(tmp_path: Path) -> None:
    given = write_pairs(tmp_path / "given", {"x": 20, "y": 21})
    store = corrections_in(tmp_path)
    with pytest.raises(DataError, match="not trained on slices"):
        add_dataset(store, given, "ann")
    assert add_dataset(store, given, "ann", "2", ("volume",)) == 2
    first = next(iter(store))
    volume, labels = volume_of(20)
    assert (first.case, first.volume, first.model) == ("x", True, "2")
    np.testing.assert_array_equal(read_volume(store.mask(first)).array, labels)
    found = read_volume(store.image(first))
    np.testing.assert_array_equal(found.array, volume.array)
    np.testing.assert_allclose(found.affine, volume.affine, atol=1e-5)


def test_volumes_need_a_network_of_slices(tmp_path: Path) -> None:
    corrections_in(tmp_path).add_volume("x", *volume_of(0), "corrected", "ann")
    pool = CasePool.open(tmp_path / "cases", LABELS, Preprocessing(16, 16, 1))
    with pytest.raises(DataError, match=r"not trained on slices.*flexseg auto"):
        pool.add_corrections(corrections_in(tmp_path))
    assert learned_kinds(of_slices=False) == ("image",)
    assert learned_kinds(of_slices=True) == ("image", "volume")
    assert learned_kinds(of_slices=True, neighbours=1) == ("volume",)
