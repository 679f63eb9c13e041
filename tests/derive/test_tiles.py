"""Tiles: they cover each image, keep all values, and know their image."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from flexseg.checking.audit import audit
from flexseg.config import Severity, load
from flexseg.dataset.candidates.answers import Answers
from flexseg.dataset.reading import Dataset
from flexseg.derive.dataset_writer import Derived
from flexseg.derive.tiles import TileOptions, derive_tiles, tile_starts
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_image, read_mask
from flexseg.planning.initialize import initialize


def derive(dataset: Path, **options: Any) -> Derived:
    return derive_tiles(dataset, dataset.with_name("out"), TileOptions(**options))


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assemble(folder: Path, group: str, shape: tuple[int, ...], kind: str) -> NDArray:
    """The image (or mask) of a group, put together from its tiles; -1 where none is."""
    whole = np.full(shape, -1)
    for row in rows_of(folder):
        if row["group"] == group:
            path = folder / row[kind]
            tile = read_image(path) if kind == "image" else read_mask(path).pixels
            top, left = int(row["top"]), int(row["left"])
            assert tile.shape[:2] == (int(row["height"]), int(row["width"]))
            whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return whole


@given(st.integers(1, 500), st.integers(1, 200), st.data())
def test_tiles_cover_a_side(length: int, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    starts = tile_starts(length, size, overlap)
    covered = np.zeros(length, int)
    for start in starts:
        assert start == 0 or start + size <= length
        covered[start : start + size] += 1
    assert covered.all()
    assert starts == sorted(set(starts))
    for one, following in pairwise(starts):
        assert one + size - following >= overlap


@pytest.mark.parametrize(("size", "overlap"), [((16, 16), 0), ((13, 21), 5), ((40, 48), 0)])
def test_tiles_assemble_to_the_image(
    make_dataset: Callable[..., Path], size: tuple[int, int], overlap: int
) -> None:
    dataset = make_dataset({"train": 2}, classes=3) / "train"
    derived = derive(dataset, size=size, overlap=overlap)
    for path in (dataset / "images").iterdir():
        image, mask = read_image(path), read_mask(dataset / "masks" / path.name)
        assert (assemble(derived.output, path.stem, image.shape, "image") == image).all()
        whole = assemble(derived.output, path.stem, mask.pixels.shape, "mask")
        assert (whole == mask.pixels).all()
    tile = next((derived.output / "masks").iterdir())
    stored = read_mask(tile).palette
    assert stored is not None
    assert stored[:3].tolist() == [[0, 0, 0], [0, 255, 0], [255, 0, 0]]


def test_empty_tiles_are_thinned_out(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 4}) / "train"
    every = derive(dataset, size=(10, 12))
    assert every.cases == 4 * 16
    none = derive(dataset, size=(10, 12), empty_every=0)
    assert (none.cases, none.empty) == (every.cases - every.empty, 0)
    assert all(read_mask(none.output / r["mask"]).pixels.any() for r in rows_of(none.output))
    third = derive(dataset, size=(10, 12), empty_every=3)
    assert 0 < third.empty < every.empty
    assert third.notes == [
        f"{every.empty - third.empty} tiles without labels were left out (--empty-every)."
    ]


def test_splits_stay_and_the_group_is_the_image(
    make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = make_dataset({"train": 4, "valid": 2, "test": 2})
    derived = derive(dataset, size=(20, 24))
    assert {r["image"].split("/")[0] for r in rows_of(derived.output)} == {"train", "valid", "test"}
    config = initialize(derived.output, tmp_path / "project")[0]
    report = audit(load(config, [f"dataset.group={derived.group}"]))
    assert [str(f) for f in report.findings if f.severity is not Severity.NOTE] == []
    assert [s["cases"] for s in report.splits] == [16, 8, 8]


def test_gray_and_wide_masks_keep_their_values(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "d" / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 65536, (30, 40)).astype(np.uint16)
    mask = rng.integers(0, 1000, (6, 8)).astype(np.uint16).repeat(5, axis=0).repeat(5, axis=1)
    mask[:5, :5] = 0
    Image.fromarray(image).save(tmp_path / "d" / "images" / "a.png")
    Image.fromarray(mask).save(tmp_path / "d" / "masks" / "a.png")
    derived = derive(tmp_path / "d", size=(16, 16))
    assert (assemble(derived.output, "a", (30, 40, 1), "image")[..., 0] == image).all()
    assert (assemble(derived.output, "a", (30, 40), "mask") == mask).all()


def test_black_is_the_background_wherever_it_stands_in_the_palette(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "d" / kind).mkdir(parents=True)
    Image.new("L", (32, 16)).save(tmp_path / "d" / "images" / "a.png")
    mask = Image.new("P", (32, 16), 1)
    mask.putpalette([255, 255, 255, 0, 0, 0])
    mask.paste(0, (0, 0, 5, 5))
    mask.save(tmp_path / "d" / "masks" / "a.png")
    derived = derive(tmp_path / "d", size=(16, 16), empty_every=0)
    assert [r["left"] for r in rows_of(derived.output)] == ["0"]


def write_pairs(root: Path, names: Sequence[str], images: str, masks: str, mask: str) -> None:
    """Images of 16 x 32 pixels whose right half is marked."""
    for folder in (images, masks):
        (root / folder).mkdir(parents=True, exist_ok=True)
    marked = Image.new("L", (32, 16))
    marked.paste(255, (16, 0, 32, 16))
    for i, name in enumerate(names):
        Image.effect_noise((32, 16), 9 + i).save(root / images / f"{name}.png")
        marked.save(root / masks / f"{mask.format(name)}.png")


@pytest.mark.parametrize(
    ("images", "masks", "mask"),
    [
        ("images", "labels", "{}"),
        ("imgs", "gt", "{}"),
        (".", ".", "{}_mask"),
        ("data/images", "data/masks", "{}_seg"),
    ],
)
def test_any_layout(tmp_path: Path, images: str, masks: str, mask: str) -> None:
    write_pairs(tmp_path / "d", ["a", "b"], images, masks, mask)
    derived = derive(tmp_path / "d", size=(16, 16), empty_every=0)
    assert [r["image"] for r in rows_of(derived.output)] == [
        "images/a_y00000_x00016.png",
        "images/b_y00000_x00016.png",
    ]


def test_val_is_a_split_and_images_without_masks_are_told(tmp_path: Path) -> None:
    for split, names in (("train", ["a", "b"]), ("val", ["c"])):
        write_pairs(tmp_path / "d", names, f"{split}/images", f"{split}/masks", "{}")
    write_pairs(tmp_path / "d", ["d"], "test/images", "other", "{}")
    derived = derive(tmp_path / "d", size=(16, 16))
    splits = [r["image"].split("/")[0] for r in rows_of(derived.output)]
    assert splits == ["train"] * 4 + ["valid"] * 2
    assert "1 image in test/images/ without a mask is left out." in derived.notes


def test_patients_in_the_names_of_images_are_the_groups_of_tiles(tmp_path: Path) -> None:
    names = [f"p{p:02d}_slice{s}" for p in range(4) for s in range(3)]
    write_pairs(tmp_path / "d", names, "images", "masks", "{}")
    derived = derive(tmp_path / "d", size=(16, 16))
    assert {r["group"] for r in rows_of(derived.output)} == {"p00", "p01", "p02", "p03"}
    groups = Dataset.open(derived.output).groups
    assert {name: len(cases) for name, cases in groups.items()} == dict.fromkeys(
        ("p00", "p01", "p02", "p03"), 6
    )


def test_split_file_and_names_of_classes_stay(tmp_path: Path) -> None:
    names = [f"scan{i}x" for i in range(6)]
    write_pairs(tmp_path / "d", names, "images", "masks", "{}")
    parts = {"train": names[:3], "valid": names[3:5], "test": names[5:]}
    (tmp_path / "d" / "split.json").write_text(json.dumps(parts))
    (tmp_path / "d" / "dataset.json").write_text(json.dumps({"labels": {"255": "liver"}}))
    data = Dataset.open(derive(tmp_path / "d", size=(16, 16)).output)
    assert [(c.id, c.name) for c in data.classes[1:]] == [(1, "liver")]
    assert {split: {case.group for case in own} for split, own in data.divide().parts.items()} == {
        split: set(own) for split, own in parts.items()
    }


def test_both_values_of_two_classes_in_jpeg_masks_are_labels(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "d" / kind).mkdir(parents=True)
    for name in "ab":
        Image.effect_noise((48, 16), 40).save(tmp_path / "d" / "images" / f"{name}.png")
        mask = Image.new("L", (48, 16))
        mask.paste(127, (16, 0, 32, 16))
        mask.paste(255, (32, 0, 48, 16))
        mask.save(tmp_path / "d" / "masks" / f"{name}.jpg", quality=95)
    derived = derive(tmp_path / "d", size=(16, 16), empty_every=0)
    assert sorted({int(r["left"]) for r in rows_of(derived.output)}) == [16, 32]


def test_small_images_stay_whole(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 1}) / "train"
    derived = derive(dataset)
    assert derived.cases == 1
    assert derived.notes == ["Images smaller than a tile stay as they are (1): train_00."]


def test_a_mask_at_half_the_size_is_cut_as_its_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = {}
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for i in range(3):
        image = rng.integers(0, 256, (32, 48, 3)).astype(np.uint8)
        masks[f"{i}"] = rng.integers(0, 2, (16, 24)).astype(np.uint8) * 255
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"{i}.png")
        Image.fromarray(masks[f"{i}"]).save(tmp_path / "data" / "masks" / f"{i}.png")
    derived = derive(tmp_path / "data", size=(16, 16), overlap=0, empty_every=1)
    for i, mask in masks.items():
        whole = np.kron(mask, np.ones((2, 2), np.uint8))
        assert np.array_equal(assemble(derived.output, i, whole.shape, "mask"), whole)


def test_options_and_data_that_are_wrong(make_dataset: Callable[..., Path]) -> None:
    dataset = make_dataset({"train": 1}) / "train"
    with pytest.raises(ConfigError, match="cannot overlap by 512"):
        derive(dataset, overlap=512)
    with pytest.raises(ConfigError, match="are not possible"):
        derive(dataset, size=(0, 16))
    with pytest.raises(ConfigError, match="contains the input"):
        derive_tiles(dataset, dataset.parent)
    with pytest.raises(DataError, match="No image has a mask of the same name"):
        derive(dataset, answers=Answers(mask_name="{id}_mask"))
    mask = dataset / "masks" / "train_00.png"
    Image.fromarray(np.eye(5, dtype=np.uint8)).save(mask)
    with pytest.raises(DataError, match="The mask is 5 x 5 pixels, but its image is 48 x 40"):
        derive(dataset, size=(16, 16))
